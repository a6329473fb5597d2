"""What one call of a backward says for a reading of it: whether it runs, is linear in the upstream gradient, and is right."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.forms.numeric_gradient import elements_of, is_close, numeric_elements
from gradcheck_lab.subjects.layers.paths import is_array, is_number


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """Compared from the first to the last, and more is better. What is no gradient at all speaks against a reading first.

    `fits` counts the results of an input's shape. A backward that takes an upstream gradient is `linear` in it.
    """

    runs: bool = False
    fits: int = 0
    right: bool = False
    linear: bool = False
    upstream: bool = False


@dataclass(frozen=True)
class Judge:
    """Judges readings of a call by its `values`; `forward` gives the outputs for other values, as a list.

    `derivatives` says whether a backward without an upstream gradient can be meant.
    """

    values: Sequence[Any]
    forward: Callable[[Sequence[Any]], Sequence[Any]]
    outputs: Sequence[Any]
    derivatives: bool = True
    slopes: dict[Any, Any] = field(default_factory=dict)

    @property
    def upstream(self) -> list[Any]:
        """An upstream gradient of each output that is an array or a number, of other values everywhere."""
        return [varied(output, k) for k, output in enumerate(self.outputs)]

    def evidence(self, backward: Callable[[list[Any]], Any], takes_upstream: bool) -> Evidence:
        """What calls of `backward` with upstream gradients say; its results belong to the values in order, or by shape."""
        grads = self.upstream if takes_upstream else [_ones(output) for output in self.outputs]
        found, twice = _called(backward, grads), _called(backward, [2 * grad for grad in grads])
        if found is None:
            return Evidence()
        placed = self._placed(found)
        fits = len(placed) if placed else 0
        if not fits or len(found) > len(self.values) + 1:
            return Evidence(runs=True)
        right = all(self._is_right(value, i, grads) for i, value in placed)
        linear = self._may_be_derivative() if not takes_upstream else twice is not None and all(
            _close(other, 2 * value) for value, other in zip(found, twice, strict=False) if is_array(value))  # fmt: skip
        return Evidence(True, fits, right, linear, takes_upstream)

    def _may_be_derivative(self) -> bool:
        """Whether the function is elementwise or a loss, as far as shapes tell."""
        arrays = [_shape(v) for v in self.values if is_array(v)]
        shapes = [_shape(output) for output in self.outputs]
        return self.derivatives and len(shapes) == 1 and (not shapes[0] or (len(arrays) == 1 and arrays == shapes))

    def _placed(self, found: Sequence[Any]) -> list[tuple[int, Any]]:
        same = [i for i, v in enumerate(self.values) if is_array(v) or is_number(v)]
        entries = [v for v in found if is_array(v) or is_number(v)]
        if len(found) == len(self.values):
            pairs = [(i, v) for i, v in enumerate(found) if is_array(v) or is_number(v)]
            return pairs if all(_shape(v) == _shape(self.values[i]) for i, v in pairs) else []
        if len(entries) == len(same) and all(_shape(v) == _shape(self.values[i]) for i, v in zip(same, entries, strict=True)):
            return list(zip(same, entries, strict=True))
        by_shape = [(next((i for i in same if _shape(self.values[i]) == _shape(v)), None), v) for v in entries]
        return [(i, v) for i, v in by_shape if i is not None] if entries and all(i is not None for i, _ in by_shape) else []

    def _is_right(self, value: Any, index: int, grads: Sequence[Any]) -> bool:
        where = elements_of(self.values[index]) if is_array(self.values[index]) else None
        if where is None:
            return True
        key = (index, *(float(np.asarray(g).sum()) for g in grads))
        if key not in self.slopes:
            self.slopes[key] = numeric_elements(lambda v: _weighted(self.forward(v), grads), self.values, index, where)
        slope = self.slopes[key]
        return slope is not None and is_close(np.asarray(value).reshape(-1)[where], slope)


def _called(backward: Callable[[list[Any]], Any], grads: list[Any]) -> list[Any] | None:
    with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
        try:
            found = backward(copy.deepcopy(grads))
        except Exception:
            return None
    entries = list(found.values()) if isinstance(found, dict) else list(as_tuple(found))
    return [v for entry in entries for v in (entry if isinstance(entry, (list, tuple)) else [entry])]


def varied(output: Any, k: int) -> Any:
    """An upstream gradient of an output, of other values everywhere."""
    rng = np.random.default_rng(k + 1)
    if isinstance(output, torch.Tensor):
        return torch.as_tensor(rng.normal(size=tuple(output.shape)), dtype=output.dtype)
    return rng.normal(size=output.shape) if isinstance(output, np.ndarray) else float(rng.normal())


def _ones(output: Any) -> Any:
    return output * 0 + 1.0


def _weighted(outputs: Sequence[Any], grads: Sequence[Any]) -> float:
    return sum(float((np.asarray(o) * np.asarray(g)).sum()) for o, g in zip(outputs, grads, strict=True))


def _close(a: Any, b: Any) -> bool:
    return _shape(a) == _shape(b) and bool(np.allclose(np.asarray(a), np.asarray(b), rtol=1e-3))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))
