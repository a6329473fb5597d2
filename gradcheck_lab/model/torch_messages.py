"""The one place that reads messages: those of torch, for failures that have no exception class of their own.

They are neither messages of the user's code nor of findings. tests/model/test_torch_messages.py makes torch raise each of
them, so that a test fails where another version of torch words one differently.
"""

from __future__ import annotations

import re

import torch

from gradcheck_lab.model.user_errors import first_line, text_of

_CANNOT_BE_DIFFERENTIATED = (
    "requires grad",  # NumPy, out= and in-place work on a tensor that has to be differentiated
    "require grad",
    "not implemented",
    "not differentiable",
    "no autograd formula",
    "once_differentiable",
    "modified by an inplace operation",
    "does not support",
    "not support",
)
_NO_MEMORY = ("can't allocate memory", "std::bad_alloc")
_REFUSED_SHAPE = re.compile(r"an invalid gradient at index \d+ - got \[(.*?)\] but expected shape compatible with \[(.*?)\]")
_CANNOT_BE_MAPPED = ("vmap: ", "Batching rule not implemented", "setup_context", "doesn't have storage")


def writes_to_saved(error: BaseException) -> bool:
    """Whether torch's version check refuses a backward because a saved tensor was written to."""
    return "modified by an inplace operation" in text_of(error)


def writes_to_leaf(error: BaseException) -> bool:
    """Whether torch refuses in-place work on a leaf that requires grad, which it allows on anything else."""
    return "leaf Variable that requires grad" in text_of(error)


def refused_argument(error: BaseException) -> str:
    """The argument for which torch has no derivative of an operator, where it refuses one that requires grad; else empty."""
    _, found, rest = text_of(error).partition("is not differentiable with respect to argument ")
    return rest.partition(".")[0] if found else ""


def lacks_tangent(error: BaseException) -> bool:
    """Whether a `jvp` returned None for a differentiable output, which torch reports as a failed internal assertion."""
    first = first_line(error)
    return "INTERNAL ASSERT" in first and "autograd_meta" in first


def cannot_be_differentiated(error: BaseException) -> bool:
    """Whether torch, or a kernel in the same words, has no derivative of what a backward computes."""
    return isinstance(error, RuntimeError) and any(words in first_line(error) for words in _CANNOT_BE_DIFFERENTIATED)


def cannot_be_mapped(error: BaseException) -> bool:
    """Whether `torch.func.vmap` has no way to map a call."""
    return any(words in first_line(error) for words in _CANNOT_BE_MAPPED)


def lacks_fake_kernel(error: BaseException) -> bool:
    """Whether opcheck finds no fake kernel, which gives the shapes of outputs without computing them."""
    return "no fake impl" in text_of(error) or type(error).__name__ == "UnsupportedOperatorException"


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python and NumPy have a class for it, torch has one on GPUs only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in first_line(error) for words in _NO_MEMORY)


def writes_undeclared(error: BaseException) -> bool:
    """Whether opcheck saw a kernel write to an argument that its schema does not declare as mutated."""
    return "mutated" in text_of(error)


def refused_shape(error: BaseException) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shape that a backward returned and that of its input, where torch's engine refuses a gradient for that."""
    found = _REFUSED_SHAPE.search(first_line(error))
    return None if found is None else (_sizes(found[1]), _sizes(found[2]))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size.strip())
