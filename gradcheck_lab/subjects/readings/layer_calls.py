"""One call of an object as a layer: its forward, its backward with arguments in some order, and where gradients then are."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.forms.numeric_gradient import elements_of, is_close, numeric_elements
from gradcheck_lab.subjects.layers.gradient_names import CONTAINERS, looks_like_parameter, partners
from gradcheck_lab.subjects.layers.numpy_trace import call
from gradcheck_lab.subjects.layers.paths import ObjectPath, arrays, attributes, is_array, is_number
from gradcheck_lab.subjects.readings.evidence import Evidence, varied

_LITERALS = {"None": None, "0.0": 0.0, "1.0": 1.0}
Place = int | ObjectPath  # an entry that the backward returns, or an attribute in which it stores


@dataclass(frozen=True, slots=True)
class LayerCall:
    """Method names, the entry of the forward's result that is the output (None for all of it), and words for the arguments.

    A word is `grad_output`, the name of an input, `layer.` and an attribute, or a literal.
    """

    forward: str
    pick: int | None
    backward: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a call leaves gradients, of the inputs by index and of the parameters by path; `returned` entries there were."""

    inputs: Mapping[int, Place]
    parameters: Mapping[str, Place]
    returned: int
    alone: bool  # the backward returned one value and no tuple


@dataclass(frozen=True)
class CalledObject:
    """An object, the inputs of a call by name, and the arrays on it that its forward reads."""

    obj: Any
    inputs: Sequence[Any]
    names: Sequence[str]
    options: Mapping[str, Any]
    slopes: dict[Any, Any] = field(default_factory=dict)
    read: dict[Any, list[tuple[ObjectPath, Any]]] = field(default_factory=dict)

    def output(self, plan: LayerCall, layer: Any, inputs: Sequence[Any]) -> Any:
        """What the forward of the layer gives; raises what it raises."""
        result = call(layer, plan.forward, copy.deepcopy(list(inputs)), dict(self.options))
        return result if plan.pick is None else as_tuple(result)[plan.pick]

    def parameters(self, plan: LayerCall) -> list[tuple[ObjectPath, Any]]:
        """The arrays on the object that its forward reads and does not make itself."""
        key = (plan.forward, plan.pick)
        if key not in self.read:
            layer = copy.deepcopy(self.obj)
            held = {str(path): (path, path.find(layer)) for path, _ in arrays(layer)}
            output = self.output(plan, layer, self.inputs)
            kept = [path for path, value in held.values() if path.find(layer) is value]
            found, seen = [], set[int]()
            for path in kept:
                value = path.find(self.obj)
                if id(value) not in seen and self._reads(plan, path, output):
                    found.append((path, value))
                seen.add(id(value))
            self.read[key] = found
        return self.read[key]

    def _reads(self, plan: LayerCall, path: ObjectPath, output: Any) -> bool:
        other = copy.deepcopy(self.obj)
        path.set(other, path.find(other) * 1.25 + 0.125)
        try:
            return not np.array_equal(np.asarray(self.output(plan, other, self.inputs)), np.asarray(output))
        except Exception:  # it takes no other values there
            return True

    def tried(self, plan: LayerCall) -> tuple[Evidence, Places] | None:
        """What a call says for this reading of the object, and where the gradients are; None where it raises."""
        with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
            try:
                parameters = self.parameters(plan)
                output, takes = self.output(plan, copy.deepcopy(self.obj), self.inputs), "grad_output" in plan.words
                upstream = varied(output, 0) if takes else output * 0 + 1.0
                once, alone = self._gradients(plan, upstream)
                twice, _ = self._gradients(plan, 2 * upstream)
            except Exception:
                return None
            values = [*self.inputs, *(value for _, value in parameters)]
            places = self._placed(plan, values, parameters, once, upstream)
            right = bool(places) and all(
                self._is_right(plan, values, parameters, i, once[p], upstream) for i, p in places.items()
            )
            linear = takes and all(_close(twice.get(p), 2 * once[p]) for p in places.values())
            linear = linear or (not takes and not np.shape(upstream))
            count, held = len(self.inputs), dict(enumerate(parameters, start=len(self.inputs)))
            if any(_looks_trained(path) for i, (path, _) in held.items() if i not in places):
                return None
            found = Places(
                {i: p for i, p in places.items() if i < count},
                {str(held[i][0]): p for i, p in places.items() if i >= count},
                sum(isinstance(p, int) for p in once),
                alone,
            )
            return Evidence(True, len(places), right, linear, takes), found

    def _gradients(self, plan: LayerCall, upstream: Any) -> tuple[dict[Place, Any], bool]:
        layer = copy.deepcopy(self.obj)
        self.output(plan, layer, self.inputs)
        before = {path: copy.deepcopy(value) for path, value in arrays(layer)}
        words = dict(zip(self.names, self.inputs, strict=True)) | _LITERALS | {"grad_output": upstream}
        held = attributes(layer)
        given = [held[w.removeprefix("layer.")] if w.startswith("layer.") else copy.deepcopy(words[w]) for w in plan.words]
        returned = getattr(layer, plan.backward)(*given)
        flat = list(as_tuple(returned))
        found: dict[Place, Any] = {k: v for k, v in enumerate(flat) if returned is not None}
        parameters = {str(path) for path, _ in self.parameters(plan)}
        for path, value in arrays(layer):
            if str(path) not in parameters and (path not in before or not np.array_equal(_array(before[path]), _array(value))):
                found[path] = value
        return found, not isinstance(returned, (tuple, list))

    def _placed(
        self, plan: LayerCall, values: Sequence[Any], parameters: Sequence[tuple[ObjectPath, Any]], found: Mapping[Place, Any],
        upstream: Any,
    ) -> dict[int, Place]:  # fmt: skip
        names = [*self.names, *(str(path) for path, _ in parameters)]
        placed: dict[int, Place] = {}
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            fitting = [p for p, g in found.items() if p not in placed.values() and is_array(value)
                       and (is_array(g) or is_number(g)) and np.shape(g) == np.shape(value)]  # fmt: skip
            if fitting:
                placed[i] = max(fitting, key=lambda p, i=i, name=name: (  # type: ignore[misc]
                    self._is_right(plan, values, parameters, i, found[p], upstream),
                    bool(partners(name.rpartition(".")[2], [str(p).rpartition(".")[2]])),
                    isinstance(p, int) == (i < len(self.inputs)),
                ))  # fmt: skip
        return placed

    def _is_right(
        self, plan: LayerCall, values: Sequence[Any], parameters: Sequence[tuple[ObjectPath, Any]], index: int, own: Any,
        upstream: Any,
    ) -> bool:  # fmt: skip
        where, key = elements_of(values[index]), (plan.forward, plan.pick, index, "grad_output" in plan.words)

        def weighted(moved: Sequence[Any]) -> float:
            layer = copy.deepcopy(self.obj)
            for (path, _), value in zip(parameters, moved[len(self.inputs) :], strict=True):
                path.set(layer, value)
            return float((np.asarray(self.output(plan, layer, moved[: len(self.inputs)])) * np.asarray(upstream)).sum())

        if key not in self.slopes:
            self.slopes[key] = numeric_elements(weighted, values, index, where)
        slope = self.slopes[key]
        return slope is not None and is_close(np.asarray(own).reshape(-1)[where], slope)


def _looks_trained(path: ObjectPath) -> bool:
    return any(looks_like_parameter(str(step.key)) or step.key in CONTAINERS for step in path.steps)


def _array(value: Any) -> Any:
    return np.asarray(value.detach()) if isinstance(value, torch.Tensor) else np.asarray(value)


def _close(a: Any, b: Any) -> bool:
    return a is not None and np.shape(a) == np.shape(b) and bool(np.allclose(_array(a), _array(b), rtol=1e-3))
