"""Mutants of a backward: each edit is run against `check` and the author's tests. `run` has the steps."""
