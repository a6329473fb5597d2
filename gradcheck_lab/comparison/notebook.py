"""Hand-made gradients among the variables of a notebook: `x.grad_`, `dX`, `X_grad`, `grads["X"]`, each with its tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.subjects.layers.gradient_names import DICTIONARIES, is_usual, partners
from gradcheck_lab.torch_internals import sequence_number

_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|In|Out")


@dataclass(frozen=True, slots=True)
class HandMade:
    """A gradient that somebody made by hand: of the tensor `name`, held by `where` (`dX`, `X.grad_`, `grads['X']`).

    `on_tensor` is set for one that is an attribute of the tensor.
    """

    name: str
    tensor: torch.Tensor
    where: str
    gradient: Any
    on_tensor: bool = False


def hand_made(values: Mapping[str, Any]) -> tuple[list[HandMade], list[str]]:
    """Every hand-made gradient among the variables, a tensor and a gradient once; and the names of values of the forward.

    Such a value is called as a gradient would be, and the loss was computed from it: a difference dx.

    A name pairs as it is written, and without regard to capitals where no other tensor claims it. A name that only may be that
    of a gradient (`gX`, `X_g`) has to have the tensor's shape.
    """
    tensors = {name: value for name, value in values.items() if _may_have_gradient(value)}
    pairings = _pairings(tensors, [name for name, value in values.items() if _is_gradient(value)])
    forward = _of_the_forward(values, pairings)
    named = {gradient: names for gradient, names in pairings.items() if gradient not in forward}
    found = [*_on_tensors(tensors), *_by_name(tensors, values, named), *_in_dictionaries(tensors, values)]
    return list({(id(each.tensor), id(each.gradient)): each for each in reversed(found)}.values())[::-1], sorted(forward)


def own_variables(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables without `_`, `_12` and others by which IPython keeps what cells returned."""
    if not {"_ih", "_oh"} <= values.keys():
        return values
    return {name: value for name, value in values.items() if not _HISTORY.fullmatch(str(name))}


def _on_tensors(tensors: Mapping[str, torch.Tensor]) -> Iterator[HandMade]:
    for name, tensor in tensors.items():
        if vars(tensor).get("grad_") is not None:
            yield HandMade(name, tensor, f"{name}.grad_", vars(tensor)["grad_"], on_tensor=True)


def _by_name(
    tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any], pairings: Mapping[str, list[str]]
) -> Iterator[HandMade]:
    for gradient, names in pairings.items():
        tensor = tensors[names[0]]
        alike = tuple(values[gradient].shape) == tuple(tensor.shape)
        if len(names) == 1 and (alike or (tensor.requires_grad and is_usual(names[0], gradient))):
            yield HandMade(names[0], tensor, gradient, values[gradient])


def _of_the_forward(values: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    """Those of `names` that the loss was computed from, as no gradient is.

    The loss is the number that was made first of those that no other number was computed from.
    """
    recorded = {n: v.grad_fn for n, v in values.items() if isinstance(v, torch.Tensor) and v.grad_fn is not None}
    numbers = [node for n, node in recorded.items() if values[n].numel() == 1 and n not in names]
    reached = {node: _before(node) for node in numbers}
    last = [node for node in numbers if not any(node in reached[other] for other in numbers if other is not node)]
    before = reached[min(last, key=sequence_number)] if last else set()
    return {name for name in names if name in recorded and recorded[name] in before}


def _before(node: Any) -> set[Any]:
    """A node of autograd's graph and all that it was computed from."""
    found, waiting = {node}, [node]
    while waiting:
        sources = {source for source, _ in waiting.pop().next_functions if source is not None} - found
        found |= sources
        waiting += sources
    return found


def _pairings(tensors: Iterable[str], gradients: Sequence[str]) -> dict[str, list[str]]:
    """For each name of a gradient the tensors that it may belong to: those in its capitals, else the others."""
    pairs = [(gradient, name) for gradient in gradients for name in tensors if partners(name, [gradient])]
    written = [(gradient, name) for gradient, name in pairs if name in gradient]
    paired = {word for pair in written for word in pair}
    found: dict[str, list[str]] = {}
    for gradient, name in pairs:
        if (gradient, name) in written or not {gradient, name} & paired:
            found.setdefault(gradient, []).append(name)
    return found


def _in_dictionaries(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> Iterator[HandMade]:
    for holder in DICTIONARIES:
        held = values.get(holder)
        if not isinstance(held, Mapping):
            continue
        for name, tensor in tensors.items():
            keys = [name] if name in held else partners(name, [key for key in held if isinstance(key, str)])
            for key in keys[:1]:
                if _is_gradient(held[key]):
                    yield HandMade(name, tensor, f"{holder}[{key!r}]", held[key])


def _may_have_gradient(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _is_gradient(value: Any) -> bool:
    """Whether a value may be a gradient made by hand: autograd's own tensors and plain numbers are none."""
    if isinstance(value, torch.Tensor):
        return (value.is_floating_point() or value.is_complex()) and not (value.requires_grad and value.is_leaf)
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"
