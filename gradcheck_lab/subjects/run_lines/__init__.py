"""Which lines of the user's forward and backward the calls of a check run, and which sides of conditions on values."""
