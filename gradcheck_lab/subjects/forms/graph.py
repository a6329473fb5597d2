"""The adapter of functions over nodes of the user's own graph: micrograd's `Value`, DeZero's `Variable` and `Function`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.graph import Graph
from gradcheck_lab.rules.methods import Methods, methods_of
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.forms.as_layers import named
from gradcheck_lab.subjects.forms.graph_steps import GraphSteps
from gradcheck_lab.subjects.forms.held_nodes import HoldingFunction, held_nodes, node_class_held
from gradcheck_lab.subjects.forms.nodes import NodeClass, node_class, node_class_among, node_class_beside, node_class_named_by
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.arguments import Arguments, arguments_of, taken_apart
from gradcheck_lab.subjects.layers.numpy_trace import agree
from gradcheck_lab.subjects.layers.paths import is_number
from gradcheck_lab.subjects.subject import Steps, Subject, Trace, importable
from gradcheck_lab.subjects.untraceable import Untraceable


class GraphCalls:
    """Makes leaves of numbers and arrays, calls the function with them, and reads the gradients that its backward leaves."""

    def __init__(self, function: HoldingFunction, nodes: NodeClass) -> None:
        self._function, self._nodes = function, nodes
        self._leaves: list[Any] = []
        self._result: Any = None
        self._again: Callable[[], Any] | None = None
        self._given: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self.seed: Callable[[Any], Any] | None = None

    def forward(self, *values: Any, **options: Any) -> Any:
        """The value of the result for these values of the leaves; one object in two places is one leaf in both."""
        self._again = None
        made: dict[int, Any] = {}
        for value in values:
            if _is_numeric(value) and id(value) not in made:
                made[id(value)] = self._nodes.leaf(value)
        self._leaves = [made.get(id(value), value) for value in values]
        result = self._function(self._leaves, options)
        if isinstance(result, (list, tuple)) and len(result) == 1:
            result = result[0]
        if not isinstance(result, self._nodes.kind):
            raise InvalidArgument(
                f"{named(self._function.function, 'the function')} returns a {type(result).__name__} and not one "
                f"{self._nodes.kind.__name__}; combine what it returns to one, or give the class: gl.Graph(f, Value)"
            )
        self._result, self._given = result, (values, options)
        value = self._nodes.value_of(result)
        return float(value) if type(value) is int else value  # a relu that gives 0

    def backward(self, grad_output: Any) -> tuple[Any, ...]:
        """The gradients of the leaves, from this upstream gradient where the graph takes one.

        A graph is walked once: its nodes add up what reaches them, so that a second backward makes the graph again.
        """
        if self._again is not None:
            self._again()
        values, options = self._given
        self._again = lambda: self.forward(*values, **options)
        if self.seed is not None:
            setattr(self._result, self._nodes.gradient, self.seed(grad_output))
        self._result.backward()
        first = {id(leaf): place for place, leaf in reversed([*enumerate(self._leaves)])}
        return tuple(
            self._nodes.gradient_of(leaf) if isinstance(leaf, self._nodes.kind) and first[id(leaf)] == place else None
            for place, leaf in enumerate(self._leaves)
        )


class UnseededGraphCalls(GraphCalls):
    """A graph whose backward starts from one, whatever the result's gradient was."""

    def backward(self) -> tuple[Any, ...]:  # type: ignore[override]
        return super().backward(None)


def adapt_graph(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a function over nodes, an object whose call makes nodes, or a `gl.Graph`; anything else is declined."""
    function, title = (value.function, value.name) if isinstance(value, Graph) else (value, named(value, type(value).__name__))
    nodes = node_class(value.node) if isinstance(value, Graph) else _nodes_of(function, inputs)
    if nodes is None:
        if isinstance(value, Graph):
            raise InvalidArgument(f"{value.node.__name__}(0.5) is no leaf with data and grad; give a class that makes one")
        return None
    names = input_names(function, len(inputs))
    leaves: list[Any] = []
    found: list[str] = []
    layout = tuple(taken_apart(v, name, leaves, found, _holds_leaves) for v, name in zip(inputs, names, strict=True))
    leaves = [nodes.value_of(v) if isinstance(v, nodes.kind) else v for v in leaves]
    if not any(map(_is_numeric, leaves)):
        leaves = [float(v) if type(v) is int else v for v in leaves]
    held = held_nodes(function, nodes.kind)
    leaves += [nodes.value_of(each.get()) for each in held]
    found += [each.name for each in held]
    holding = HoldingFunction(function, layout, held)
    calls: GraphCalls = GraphCalls(holding, nodes)
    seed = _seed(calls, nodes, leaves, options)
    if isinstance(seed, Exception) and not isinstance(value, Graph) and node_class_among(inputs) is None:
        return None  # it only stands beside a class of nodes
    if not callable(seed):
        calls = UnseededGraphCalls(holding, nodes)
    calls.seed = seed if callable(seed) else None
    given = Arguments(tuple(leaves), tuple(found), tuple(range(len(leaves))))
    subject = layer_subject(
        calls, title, Methods("forward", "backward"), inputs, options,
        target=importable(function), written=(function, calls.backward), given=given,
    )  # fmt: skip
    backward = nodes.kind.backward  # type: ignore[attr-defined]
    return replace(
        subject,
        trace=_Traced(holding, subject).trace,
        backwards=lambda: (backward,),
        steps=_StepsOf(holding, nodes).steps,
    )


class _StepsOf:
    """The operations of the graph that the function makes of these leaves."""

    def __init__(self, function: HoldingFunction, nodes: NodeClass) -> None:
        self._function, self._nodes = function, nodes

    def steps(self, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Steps | None:
        values = [v.item() if isinstance(v, torch.Tensor) and not v.ndim else v for v in inputs]
        if not all(isinstance(v, (int, float)) for v in values):
            return None

        def run() -> tuple[Any, list[Any]]:
            leaves = [self._nodes.leaf(v) for v in values]
            result = self._function(leaves, options)
            return (result[0] if isinstance(result, (list, tuple)) else result), leaves

        return GraphSteps(self._nodes, run).steps()


class _Traced:
    """The function on tensors in the place of nodes, which autograd follows where it takes them and gives the same value."""

    def __init__(self, function: HoldingFunction, subject: Subject) -> None:
        self._function, self._subject = function, subject

    def trace(self, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self._function(inputs, options)
        except Exception as error:
            raise Untraceable(f"{self._subject.name} takes no tensors: {type(error).__name__}") from error
        outputs = as_tuple(result[0] if isinstance(result, (list, tuple)) and len(result) == 1 else result)
        own = self._subject.forward(inputs, options)
        if len(outputs) != len(own) or not all(agree(a, b) for a, b in zip(outputs, own, strict=True)):
            raise Untraceable(f"on tensors, {self._subject.name} gives another value than on its own nodes")
        return Trace(outputs)


def _nodes_of(function: Any, inputs: Sequence[Any]) -> NodeClass | None:
    if not callable(function) or isinstance(function, type):
        return None
    among = node_class_among(inputs)
    if among is not None:
        return among
    if any(isinstance(v, torch.Tensor) for v in arguments_of(inputs, [""] * len(inputs)).leaves):
        return None
    if isinstance(function, FunctionType):
        return node_class_named_by(function) or node_class_beside(function)
    held = node_class_held(function)
    if held is not None:
        return held
    call = inspect.getattr_static(type(function), "__call__", None)
    return node_class_named_by(call) if isinstance(call, FunctionType) and methods_of(function) is not None else None


def _seed(
    calls: GraphCalls, nodes: NodeClass, leaves: Sequence[Any], options: Mapping[str, Any]
) -> Callable[[Any], Any] | Exception | None:
    """How an upstream gradient is put on the result: as it is, or as a node; None where the backward starts from one.

    What the function raises is returned instead.
    """
    with preserved_randomness(), np.errstate(all="ignore"):
        try:
            calls.forward(*leaves, **options)
            once = calls.backward(None)
        except Exception as error:
            return error
        for seed in (_as_it_is, nodes.leaf):
            try:
                calls.seed = seed
                output = calls.forward(*leaves, **options)
                twice = calls.backward(output * 0 + 2.0)
                pairs = [(a, np.asarray(b)) for a, b in zip(twice, once, strict=True) if _is_numeric(b)]
                if any(b.any() for _, b in pairs) and all(np.allclose(a, 2.0 * b) for a, b in pairs):
                    return seed
            except Exception:
                continue
            finally:
                calls.seed = None
        return None


def _as_it_is(value: Any) -> Any:
    return value


def _holds_leaves(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(_is_numeric(v) or type(v) is int or callable(getattr(v, "backward", None)) or (
        type(v) in (list, tuple, dict) and _holds_leaves(v)) for v in items)  # fmt: skip


def _is_numeric(value: Any) -> bool:
    return is_number(value) or isinstance(value, (complex, np.ndarray, np.generic))
