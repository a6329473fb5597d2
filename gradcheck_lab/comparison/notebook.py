"""Hand-made gradients among the variables of a notebook: `x.grad_`, `dX`, `X_grad`, `grads["X"]`, each with its tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.subjects.layers.gradient_names import DICTIONARIES, partners


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


def hand_made(values: Mapping[str, Any]) -> list[HandMade]:
    """Every hand-made gradient among the variables, a tensor and a gradient once.

    A name pairs as it is written, and without regard to capitals where no other tensor claims it. A name that only may be that
    of a gradient (`gX`, `X_g`) has to have the tensor's shape.
    """
    tensors = {name: value for name, value in values.items() if _may_have_gradient(value)}
    found = [*_on_tensors(tensors), *_by_name(tensors, values), *_in_dictionaries(tensors, values)]
    seen: set[tuple[int, int]] = set()
    return [f for f in found if (key := (id(f.tensor), id(f.gradient))) not in seen and not seen.add(key)]  # type: ignore[func-returns-value]


def _on_tensors(tensors: Mapping[str, torch.Tensor]) -> Iterator[HandMade]:
    for name, tensor in tensors.items():
        if vars(tensor).get("grad_") is not None:
            yield HandMade(name, tensor, f"{name}.grad_", vars(tensor)["grad_"], on_tensor=True)


def _by_name(tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> Iterator[HandMade]:
    for gradient, names in _pairings(tensors, [name for name, value in values.items() if _is_gradient(value)]).items():
        tensor = tensors[names[0]]
        if len(names) == 1 and (tensor.requires_grad or _same_shape(values[gradient], tensor)):
            yield HandMade(names[0], tensor, gradient, values[gradient])


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


def _same_shape(gradient: Any, tensor: torch.Tensor) -> bool:
    return tuple(gradient.shape) == tuple(tensor.shape)
