"""A trial of a layer on a copy: what its first forward creates, later ones keep, and its backward returns and changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.layers.backward_call import BackwardCall
from gradcheck_lab.subjects.layers.entries import entries_of, keys_of
from gradcheck_lab.subjects.layers.numpy_boundary import from_native, like_output, to_native
from gradcheck_lab.subjects.layers.numpy_trace import call
from gradcheck_lab.subjects.layers.paths import ObjectPath, arrays, attributes, is_array, owners

State = dict[str, Any]


@dataclass
class Trial:
    """One call of a layer, and its forward once more: nothing of it is seen on the layer itself.

    `layer` is a copy after the first forward. `kept` are the paths of attributes that the second forward left as they were,
    `created` those of arrays among them that the first one made. `returned` are the entries that the backward returned, `None`
    where it was not run or raised, and `keys` their keys where it returned a dict of gradients. `stored` are
    arrays that the backward put on the layer or changed, by path. `error` is what the backward raised.
    """

    layer: Any
    kept: frozenset[str] = frozenset()
    created: frozenset[str] = frozenset()
    returned: tuple[Any, ...] | None = None
    keys: tuple[str | None, ...] = ()
    stored: Mapping[str, Any] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Trials:
    """How to call a layer for a trial: its methods, the tensors of the call, the forms in which it takes them, its options."""

    methods: Methods
    tensors: Sequence[Any]
    kinds: Sequence[str]
    options: Mapping[str, Any]
    rebuild: Callable[[Sequence[Any]], tuple[Any, ...]]
    signature: BackwardCall

    def run(self, layer: Any) -> Trial | None:
        """Call a copy of `layer`; None where it cannot be copied or its forward raises, which the check itself reports."""
        with preserved_randomness(), torch.no_grad(), np.errstate(all="ignore"):
            try:
                first = copy.deepcopy(layer)
                before = _arrays(first)
                self._forward(first)
                second = copy.deepcopy(first)
                state = _attributes(second)
                values = {path: _copied(value) for path, value in _arrays(second).items()}
                given, output = self._forward(second)
            except Exception:
                return None
            kept = frozenset(path for path, value in _attributes(second).items() if path in state and state[path] is value)
            now = _arrays(second)
            changed = {p for p, value in values.items() if p not in now or not _equal(value, now[p])}
            kept = frozenset(p for p in kept if not any(c == p or c.startswith((f"{p}[", f"{p}.")) for c in changed))
            created = frozenset(p for p in now if p not in before and any(p == k or p.startswith(f"{k}[") for k in kept))
            return self._with_backward(Trial(first, kept, created), second, given, output)

    def reads(self, layer: Any, path: ObjectPath) -> bool:
        """Whether the outputs change with the array at `path`."""
        with preserved_randomness(), torch.no_grad(), np.errstate(all="ignore"):
            try:
                one, other = copy.deepcopy(layer), copy.deepcopy(layer)
                path.set(other, path.get(other) * 1.25 + 0.125)
                pairs = [tuple(map(from_native, as_tuple(self._forward(each)[1]))) for each in (one, other)]
                return any(isinstance(a, torch.Tensor) and not _equal(a, b) for a, b in zip(*pairs, strict=True))
            except Exception:  # it does not take other values there
                return True

    def _forward(self, layer: Any) -> tuple[list[Any], Any]:
        copies = [v.detach().clone() if isinstance(v, torch.Tensor) else v for v in self.tensors]
        given = [to_native(v, kind) for v, kind in zip(copies, self.kinds, strict=False)]
        return given, call(layer, self.methods.forward, self.rebuild(given), self.options)

    def _with_backward(self, trial: Trial, layer: Any, given: Sequence[Any], output: Any) -> Trial:
        before = {path: _copied(value) for path, value in _arrays(layer).items()}
        try:
            raw = as_tuple(output)
            grads = [like_output(torch.ones_like(from_native(o)), o) for o in raw]
            again = self.rebuild(given)
            positional, keywords = self.signature.arguments(grads if self.signature.takes_upstream else (), again, type(output))
            returned = getattr(layer, self.methods.backward)(*positional, **keywords)
        except Exception as error:
            trial.error = error
            return trial
        trial.keys = keys_of(returned)
        found = entries_of(returned, trial.keys) if trial.keys else as_tuple(returned)
        trial.returned = tuple(from_native(v) for v in found) if returned is not None else ()
        after = _arrays(layer)
        trial.stored = {p: v for p, v in after.items() if p not in before or not _equal(before[p], v)}
        return trial


def _arrays(layer: Any) -> dict[str, Any]:
    return {str(path): value for path, value in arrays(layer)}


def _attributes(layer: Any) -> State:
    return {str(path.attribute(name)): value for path, owner in owners(layer) for name, value in attributes(owner).items()}


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value.copy()


def _equal(a: Any, b: Any) -> bool:
    if not is_array(a) or not is_array(b) or tuple(a.shape) != tuple(b.shape):
        return False
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))
    return bool(np.array_equal(np.nan_to_num(np.asarray(a)), np.nan_to_num(np.asarray(b))))
