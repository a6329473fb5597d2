"""Random calls of sound ops: a pool of hand-written backwards, the forms that people write them in, and what they are given."""
