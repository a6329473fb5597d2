"""The operations of which a function over nodes of numbers makes its graph, each as an op of its own on many numbers."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType, FunctionType
from typing import Any

import torch
import torch.nn.functional

from gradcheck_lab.model.limits import STEP_SAMPLES
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.forms.nodes import NodeClass
from gradcheck_lab.subjects.subject import Call, Steps

Sample = tuple[tuple[float, ...], float]  # the numbers of the operands, and what the step makes of them

_ANOTHER_USE = 7.25  # what another use of a value has sent to it before


@dataclass(slots=True)
class _Step:
    """One operation: the function that makes the node, and what it takes beside nodes, by place.

    `seen` are the numbers of its nodes on each call, `operands` the ids of these nodes.
    """

    function: Callable[..., Any]
    fixed: dict[int, Any]
    count: int
    seen: list[tuple[float, ...]] = field(default_factory=list)
    operands: list[int] = field(default_factory=list)

    def make(self, leaves: Sequence[Any]) -> Any:
        """The node that it makes of leaves."""
        given = iter(leaves)
        return self.function(*(self.fixed[i] if i in self.fixed else next(given) for i in range(self.count)))


class GraphSteps:
    """The steps of a function's graph, for one run of it: as calls of ops, and the gradients that a right order would give."""

    def __init__(self, nodes: NodeClass, run: Callable[[], tuple[Any, Sequence[Any]]]) -> None:
        self._nodes, self._run = nodes, run
        self._alive: list[Any] = []

    def steps(self) -> Steps | None:
        """The operations as calls of ops; None where nodes do not hold numbers and a function that sends their gradient on."""
        made, known = self._recorded()
        if not made or not all(isinstance(self._nodes.value_of(node), (int, float)) for node in made):
            return None
        calls, lost = [], []
        uses = Counter(operand for step in known.values() for operand in step.operands)
        for step in known.values():
            samples = list(self._samples(step))
            if len(samples) < STEP_SAMPLES.value // 2:
                continue
            call = self._call(step, samples)
            calls += [] if call is None else [call]
            shared = any(uses[operand] > 1 for operand in step.operands)
            lost += [self._name(step)] if shared and self._overwrites(step, samples) else []
        return Steps(tuple(calls), tuple(lost), self.in_order)

    def in_order(self) -> tuple[Any, ...] | None:
        """The gradients of the leaves when each node sends on its gradient after all later ones; None where it cannot."""
        made: list[Any] = []
        leaves, result = self._profiled(made, {})
        nodes = self._nodes
        for node in (*leaves, *made):
            if isinstance(node, nodes.kind):
                setattr(node, nodes.gradient, 0.0)
        setattr(result, nodes.gradient, 1.0)
        for node in reversed(made):
            send = _sender(node)
            if send is None:
                return None
            send()
        return tuple(nodes.gradient_of(leaf) if isinstance(leaf, nodes.kind) else None for leaf in leaves)

    def _recorded(self) -> tuple[list[Any], dict[Any, _Step]]:
        made: list[Any] = []
        known: dict[Any, _Step] = {}
        self._profiled(made, known)
        return made, known

    def _profiled(self, made: list[Any], known: dict[Any, _Step]) -> tuple[Sequence[Any], Any]:
        """Run the function and collect, in order, the nodes that it makes of nodes, and the steps that make them."""
        kind, ids = self._nodes.kind, set[int]()

        def watch(frame: FrameType, event: str, result: Any) -> None:
            if event != "return" or not isinstance(result, kind) or id(result) in ids or frame.f_code.co_name == "__init__":
                return
            arguments = [frame.f_locals.get(name) for name in frame.f_code.co_varnames[: frame.f_code.co_argcount]]
            if not any(isinstance(a, kind) for a in arguments) or any(a is result for a in arguments):
                return
            ids.add(id(result))
            made.append(result)
            self._keep(frame, arguments, known)

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            result, leaves = self._run()
        finally:
            sys.setprofile(before)
        return leaves, result

    def _keep(self, frame: FrameType, arguments: list[Any], known: dict[Any, _Step]) -> None:
        function = self._function_of(frame)
        fixed = {i: a for i, a in enumerate(arguments) if not isinstance(a, self._nodes.kind)}
        if function is None or not all(a is None or isinstance(a, (int, float, str)) for a in fixed.values()):
            return
        step = known.setdefault((function, tuple(fixed.items())), _Step(function, fixed, len(arguments)))
        taken = [a for a in arguments if isinstance(a, self._nodes.kind)]
        step.seen.append(tuple(map(self._nodes.value_of, taken)))
        step.operands += map(id, taken)
        self._alive += taken

    def _function_of(self, frame: FrameType) -> Callable[..., Any] | None:
        name = frame.f_code.co_name
        found = [v for each in self._nodes.kind.__mro__ for v in vars(each).values()] + [frame.f_globals.get(name)]
        found += [] if frame.f_back is None else frame.f_back.f_locals.values()  # a function that its caller defined
        return next((v for v in found if isinstance(v, FunctionType) and v.__code__ is frame.f_code), None)

    def _name(self, step: _Step) -> str:
        return f"{self._nodes.kind.__name__}.{getattr(step.function, '__name__', 'step')}"

    def _call(self, step: _Step, samples: Sequence[Sample]) -> Call | None:
        """The step on many numbers as a call of an op; None where torch has no such function."""
        forward = _in_torch(step, samples)
        if forward is None:
            return None
        inputs, output = _columns(samples)
        return Call(Op(forward, self._rule(step), name=self._name(step)), inputs, {}, (output,), False)

    def _samples(self, step: _Step) -> Iterator[Sample]:
        """Numbers like those of the call, of both signs, and what the step makes of them; where it makes a finite number.

        There are none of a step that sends nothing by itself.
        """
        drawn = random.Random(0)
        for k in range(STEP_SAMPLES.value):
            given = step.seen[k % len(step.seen)]
            numbers = tuple((v or 1.0) * drawn.uniform(0.3, 2.5) * drawn.choice((1, 1, -1)) for v in given)
            try:
                node = step.make([self._nodes.leaf(v) for v in numbers])
                value = float(self._nodes.value_of(node))
            except Exception:
                continue
            if math.isfinite(value) and _sender(node) is not None:
                yield numbers, value

    def _rule(self, step: _Step, before: float = 0.0) -> Callable[..., tuple[torch.Tensor, ...]]:
        """The step's own gradients, element by element, where another use has sent `before` to its nodes."""
        nodes = self._nodes

        def rule(grad_output: torch.Tensor, output: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            rows = []
            for g, *numbers in zip(grad_output.tolist(), *(v.tolist() for v in inputs), strict=True):
                leaves = [nodes.leaf(v) for v in numbers]
                node = step.make(leaves)
                for leaf in leaves:
                    setattr(leaf, nodes.gradient, before)
                setattr(node, nodes.gradient, g)
                send = _sender(node)
                assert send is not None
                send()
                rows.append([float(nodes.gradient_of(leaf)) for leaf in leaves])
            return tuple(torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))

        return rule

    def _overwrites(self, step: _Step, samples: Sequence[Sample]) -> bool:
        """Whether what another use of a value has sent to it before is lost."""
        inputs, output = _columns(samples)
        ones = torch.ones_like(output)
        try:
            fresh = self._rule(step)(ones, output, *inputs)
            later = self._rule(step, _ANOTHER_USE)(ones, output, *inputs)
        except (ArithmeticError, ValueError):  # it is not made for these numbers
            return False
        return any(torch.equal(a, b) and bool(a.any()) for a, b in zip(fresh, later, strict=True))


def _sender(node: Any) -> Callable[[], Any] | None:
    """The function without arguments that a node holds, which sends its gradient on to what it was made of."""
    held: Mapping[str, Any] = getattr(node, "__dict__", {})
    slots = [name for each in type(node).__mro__ for name in vars(each).get("__slots__", ())]
    values = [*held.values(), *(getattr(node, name, None) for name in slots)]
    found = [v for v in values if isinstance(v, FunctionType) and v.__code__.co_argcount == len(v.__defaults__ or ())]
    return found[0] if len(found) == 1 else None


def _columns(samples: Sequence[Sample]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """The numbers of each operand, and those that the step makes of them."""
    inputs = tuple(torch.tensor(column, dtype=torch.float64) for column in zip(*(s for s, _ in samples), strict=True))
    return inputs, torch.tensor([value for _, value in samples], dtype=torch.float64)


def _in_torch(step: _Step, samples: Sequence[Sample]) -> Callable[..., Any] | None:
    """Torch's function of the same name, where it gives the same numbers; None where there is none."""
    name = step.function.__name__
    columns, wanted = _columns(samples)
    for home in (torch.Tensor, torch, torch.nn.functional):
        function = getattr(home, name, None)
        if not callable(function):
            continue

        def forward(*tensors: torch.Tensor, _function: Callable[..., Any] = function) -> Any:
            given = iter(tensors)
            return _function(*(step.fixed[i] if i in step.fixed else next(given) for i in range(step.count)))

        try:
            found = forward(*columns)
            if isinstance(found, torch.Tensor) and torch.allclose(found, wanted, rtol=1e-9, atol=1e-12):
                return forward
        except Exception:
            continue
    return None
