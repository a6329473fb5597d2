"""Functions of torch whose documented gradient is not the derivative of what they return: autograd's is the right one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Convention:
    """A function by name, what it does with gradients, and the argument that asks for it, if it does not always."""

    function: str
    does: str
    argument: str = ""


CONVENTIONS = (
    Convention("embedding", "sends nothing to the row of padding_idx", "padding_idx"),
    Convention("embedding", "divides what it sends by how often an index occurs", "scale_grad_by_freq"),
    Convention("embedding_bag", "divides what it sends by how often an index occurs", "scale_grad_by_freq"),
    Convention("gumbel_softmax", "sends back what the soft sample would, for the hard one", "hard"),
    Convention("fake_quantize_per_tensor_affine", "sends the gradient through the rounding"),
    Convention("fake_quantize_per_channel_affine", "sends the gradient through the rounding"),
    Convention("ctc_loss", "takes its input for logarithms of probabilities that sum to one"),
)
_BUILT_IN = {"embedding": ("weight", "indices", "padding_idx", "scale_grad_by_freq")}  # it has no signature; -1 is no row


def conventions_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of a function of torch does with gradients that is not their derivative."""
    name = getattr(function, "__name__", "")
    rows = [row for row in CONVENTIONS if row.function == name]
    given = _arguments(function, args, kwargs) if rows else {}
    asked = [row for row in rows if not row.argument or not (given.get(row.argument) is None or given[row.argument] is False)]
    return tuple(f"{name} {row.does}" for row in asked)


def _arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        names = _BUILT_IN.get(function.__name__, ())
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return {key: value for key, value in given.items() if key != "padding_idx" or value != -1}
