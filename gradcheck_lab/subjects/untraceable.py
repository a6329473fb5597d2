"""The exception for a forward that autograd cannot differentiate."""

from __future__ import annotations


class Untraceable(Exception):
    """A forward cannot be differentiated by autograd, for the reason in the message; a numeric oracle is used instead."""


class NothingHandWritten(Untraceable):
    """Torch differentiates all of it: autograd would be held against itself."""
