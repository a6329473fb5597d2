"""`Variable`: the manual engine, define-by-run, that walks hand-written rules. No autograd on this side."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.engine.arithmetic import Arithmetic
from gradcheck_lab.engine.native import PROPERTIES, run_native, takes_native
from gradcheck_lab.engine.operators import OPERATORS, operator, raw_function, takes_operator
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.naming import assigned_names
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.torch_internals import sequence_like

_clock = itertools.count()
_tape: ContextVar[list[Node] | None] = ContextVar("tape", default=None)
_run_as: ContextVar[Callable[[Op], Op] | None] = ContextVar("run_as", default=None)


@dataclass(eq=False, slots=True)
class Node:
    """One recorded call of an op; `index` grows with time, so decreasing order is reverse topological."""

    op: Op
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    outputs: tuple[Variable, ...]
    several: bool
    names: tuple[str, ...]
    index: int = field(default_factory=lambda: next(_clock))

    def backward(self, grad_outputs: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
        """Run the hand-written rule on tensors; one gradient per input."""
        outputs = tuple(variable.data for variable in self.outputs)
        grads = self.op.backward(
            grad_outputs if self.several else grad_outputs[0],
            outputs if self.several else outputs[0],
            *(unwrap(value) for value in self.inputs),
            **self.options,
        )
        return as_tuple(grads)


class _RawMethod(InvalidArgument, AttributeError):
    """A tensor method called on a Variable; an AttributeError too, so that `hasattr` says no."""


class Variable(Arithmetic):
    """A tensor that remembers which op made it.

    `Variable(tensor)` is a leaf; ops and operators (`+ - * / ** @`, negation) make the others. `v.backward(grad_output)`
    walks the hand-written rules in reverse topological order and adds to `.grad` of every Variable on the way;
    `grad_output` has the shape of `v` and may be left out when `v` has one element. A number becomes a float64 tensor.

    Raises `InvalidArgument` when a raw torch function is applied to it, when `grad_output` is missing or has another shape,
    and when an op on the way has no backward.

    >>> x = Variable(3.0)
    >>> y = x * x + x
    >>> y.backward()
    >>> x.grad
    tensor(7., dtype=torch.float64)
    """

    __slots__ = ("data", "grad", "name", "node")
    __array_ufunc__ = None

    def __init__(self, data: torch.Tensor | float, name: str | None = None) -> None:
        if isinstance(data, (int, float)) and not isinstance(data, bool):
            data = torch.tensor(float(data), dtype=torch.float64)
        if not isinstance(data, torch.Tensor):
            raise InvalidArgument(
                f"a Variable holds a tensor or a number and a {type(data).__name__} was given; "
                "pass Variable(torch.as_tensor(data))"
            )
        self.data = data.detach()
        self.grad: torch.Tensor | None = None
        self.name = name
        self.node: Node | None = None

    @property
    def shape(self) -> torch.Size:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    @property
    def device(self) -> torch.device:
        return self.data.device

    def size(self, dim: int | None = None) -> Any:
        return self.data.size() if dim is None else self.data.size(dim)

    def numel(self) -> int:
        return self.data.numel()

    def item(self) -> float:
        return float(self.data.item())

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Variable{name} {self.data!r}>"

    def backward(self, grad_output: torch.Tensor | None = None) -> None:
        """Add this Variable's gradient to `.grad` of every Variable that it was made from, and its own."""
        if grad_output is None:
            if self.data.numel() != 1:
                raise InvalidArgument(
                    f"backward of a Variable of shape {tuple(self.shape)} needs grad_output of that shape; "
                    "only a single element has a default, 1"
                )
            grad_output = torch.ones_like(self.data)
        if tuple(grad_output.shape) != tuple(self.shape):
            raise InvalidArgument(
                f"grad_output has shape {tuple(grad_output.shape)} and the Variable has {tuple(self.shape)}; "
                "pass one of the same shape"
            )
        backward((self,), (grad_output,))

    @staticmethod
    def __apply_op__(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return apply(op, inputs, options)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", str(func))
        if not kwargs and takes_operator(name, args):
            return operator(name, args)
        if takes_native(name) and "out" not in (kwargs or {}):
            if (kwargs or {}).get("inplace"):
                raise InvalidArgument(raw_function(f"{name}_"))
            return apply_native(name, func, args, kwargs or {})
        if not kwargs and name in OPERATORS:
            return operator(name, args)
        raise InvalidArgument(raw_function(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(torch.Tensor, name):
            raise AttributeError(f"'Variable' has no attribute {name!r}")
        if not takes_native(name):
            raise _RawMethod(raw_function(name))
        if name in PROPERTIES:
            return apply_native(name, lambda tensor: getattr(tensor, name), (self,), {})
        method = getattr(torch.Tensor, name)
        if not callable(method):
            return getattr(self.data, name)
        return lambda *args, **kwargs: type(self).__torch_function__(method, (), (self, *args), kwargs)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise InvalidArgument(raw_function("__setitem__"))

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def _operator(self, name: str, *operands: Any) -> Any:
        if takes_operator(name, operands) or not takes_native(name):
            return operator(name, operands)
        return apply_native(name, getattr(torch, name), operands, {})

    def _native(self, name: str, *others: Any) -> Any:
        if not takes_native(name):
            raise InvalidArgument(raw_function(name))
        return apply_native(name, getattr(torch.Tensor, name), (self, *others), {})


def unwrap(value: Any) -> Any:
    """The tensor of a Variable; anything else as it is."""
    return value.data if isinstance(value, Variable) else value


@contextmanager
def record() -> Iterator[list[Node]]:
    """Collect every op call on Variables within the block, in order."""
    tape: list[Node] = []
    token = _tape.set(tape)
    try:
        yield tape
    finally:
        _tape.reset(token)


@contextmanager
def ops_run_as(change: Callable[[Op], Op]) -> Iterator[None]:
    """Within the block each op that is called on Variables runs as `change(op)`, forward and backward."""
    token = _run_as.set(change)
    try:
        yield
    finally:
        _run_as.reset(token)


def apply(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Run an op's forward on the tensors of `inputs` and record the call; returns a Variable or a tuple of them."""
    tensors = tuple(unwrap(value) for value in inputs)
    op.validate(tensors, options)
    change = _run_as.get()
    op = op if change is None else change(op)
    with torch.no_grad():
        output = op.forward(*tensors, **options)
    several = isinstance(output, (tuple, list))
    outputs = tuple(Variable(value) for value in as_tuple(output))
    tape = _tape.get()
    node = Node(op, inputs, options, outputs, several, assigned_names() if tape is not None else ())
    for variable in outputs:
        variable.node = node
    if tape is not None:
        tape.append(node)
    return outputs if several else outputs[0]


def apply_native(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a torch function on Variables and record it off the tape; what does not depend on them is returned as it is."""
    result, variables, rule = run_native(name, func, args, kwargs, Variable)
    values = [v for v in as_tuple(result) if isinstance(v, torch.Tensor) and v.requires_grad]
    made = {id(value): Variable(value) for value in values}
    node = Node(Op(func, rule, name=name), tuple(variables), {}, tuple(made.values()), isinstance(result, (tuple, list)), ())
    for variable in made.values():
        variable.node = node
    if not isinstance(result, (tuple, list)):
        return made.get(id(result), _stopped(result))
    parts = [made.get(id(value), _stopped(value)) for value in result]
    return sequence_like(result, parts)


def _stopped(value: Any) -> Any:
    """A floating tensor without a gradient as a Variable of its own, so that ops record what is computed with it."""
    return Variable(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def backward(roots: tuple[Variable, ...], grad_outputs: tuple[torch.Tensor, ...]) -> None:
    """Run the rules in reverse topological order from several roots, adding to `.grad` of every Variable on the way."""
    reached: dict[Variable, torch.Tensor] = {}
    for root, grad_output in zip(roots, grad_outputs, strict=True):
        _accumulate(reached, root, grad_output)
    heap = [(-variable.node.index, variable.node) for variable in reached if variable.node is not None]
    heap = list({index: (index, node) for index, node in heap}.values())
    heapq.heapify(heap)
    queued = {index for index, _ in heap}
    with torch.no_grad():
        while heap:
            _, node = heapq.heappop(heap)
            upstream = tuple(
                reached[variable] if variable in reached else torch.zeros_like(variable.data) for variable in node.outputs
            )
            for value, grad in zip(node.inputs, _counted(node, node.backward(upstream)), strict=True):
                if not isinstance(value, Variable) or grad is None:
                    continue
                _accumulate(reached, value, grad)
                source = value.node
                if source is not None and -source.index not in queued:
                    queued.add(-source.index)
                    heapq.heappush(heap, (-source.index, source))
    for variable, grad in reached.items():
        variable.grad = grad if variable.grad is None else variable.grad + grad


def _accumulate(reached: dict[Variable, torch.Tensor], variable: Variable, grad: torch.Tensor) -> None:
    known = reached.get(variable)
    reached[variable] = grad if known is None else known + grad


def _counted(node: Node, grads: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(grads) != len(node.inputs):
        raise InvalidArgument(
            f"the backward of {node.op.name} returned {len(grads)} gradients for {len(node.inputs)} inputs; "
            "return one per input, None where not differentiable"
        )
    return grads
