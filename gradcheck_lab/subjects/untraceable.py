"""The exception of a forward that autograd cannot follow."""

from __future__ import annotations


class Untraceable(Exception):
    """A forward that an oracle cannot follow; the message says why, and the next oracle is asked."""
