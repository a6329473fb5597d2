"""The one place that reads messages: torch's own, of failures that it has no class of exception for.

They belong to torch, not to the user's code nor to a finding. tests/model/test_torch_messages.py makes torch say each of
them, so that a version of torch which words one otherwise fails a test.
"""

from __future__ import annotations

from gradcheck_lab.model.user_errors import first_line, text_of

_CANNOT_BE_DIFFERENTIATED = (
    "requires grad",  # of NumPy, out= and in-place work on what has to be differentiated
    "require grad",
    "not implemented",
    "not differentiable",
    "no autograd formula",
    "once_differentiable",
    "modified by an inplace operation",
    "does not support",
    "not support",
)
_CANNOT_BE_MAPPED = ("vmap: ", "Batching rule not implemented", "setup_context", "doesn't have storage")


def writes_to_saved(error: BaseException) -> bool:
    """Whether torch's version check refuses a backward since what forward saved was written to."""
    return "modified by an inplace operation" in text_of(error)


def writes_to_leaf(error: BaseException) -> bool:
    """Whether torch refuses in-place work on a leaf that requires grad, which it allows on anything else."""
    return "leaf Variable that requires grad" in text_of(error)


def lacks_tangent(error: BaseException) -> bool:
    """Whether a `jvp` returned None for an output that is differentiable: torch has no more to say than a failed assertion."""
    first = first_line(error)
    return "INTERNAL ASSERT" in first and "autograd_meta" in first


def cannot_be_differentiated(error: BaseException) -> bool:
    """Whether torch, or a kernel in the same words, says that it has no derivative of what a backward computes."""
    return isinstance(error, RuntimeError) and any(words in first_line(error) for words in _CANNOT_BE_DIFFERENTIATED)


def cannot_be_mapped(error: BaseException) -> bool:
    """Whether `torch.func.vmap` has no way to map a call."""
    return any(words in first_line(error) for words in _CANNOT_BE_MAPPED)


def lacks_fake_kernel(error: BaseException) -> bool:
    """Whether opcheck misses a fake kernel, which says how outputs are shaped without computing them."""
    return "no fake impl" in text_of(error) or type(error).__name__ == "UnsupportedOperatorException"


def writes_undeclared(error: BaseException) -> bool:
    """Whether opcheck saw a kernel write to an argument that its schema does not name as written to."""
    return "mutated" in text_of(error)
