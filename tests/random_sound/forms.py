"""One rule in the forms that people write: a pair, Functions of old and new style, a layer, a module, a plain function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound.draws import REAL, Draw

# mypy: disable-error-code="override"


@dataclass(frozen=True)
class Rule:
    """`forward(*inputs, **options)`, and `backward(grad_output, output, *inputs, **options)` by hand."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What `gl.check` is given."""

    op: Any
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    form: str = "own"


@dataclass(frozen=True)
class Row:
    """A row of the pool: a function of draws that makes a rule, or a subject in a form of its own."""

    name: str
    make: Callable[[Draw], Rule | Subject]
    dtypes: tuple[torch.dtype, ...]
    only: tuple[str, ...] = ()


def sound(dtypes: Sequence[torch.dtype] = REAL, only: Sequence[str] = ()) -> Callable[[Callable[[Draw], Rule | Subject]], Row]:
    """Make a row of the pool; `dtypes` are those that its kernels know, `only` the forms that it can take."""

    def row(make: Callable[[Draw], Rule | Subject]) -> Row:
        return Row(make.__name__, make, tuple(dtypes), tuple(only))

    return row


def as_op(rule: Rule, draw: Draw) -> Subject:
    return Subject(gl.Op(rule.forward, rule.backward), rule.inputs, rule.options)


def as_pair(rule: Rule, draw: Draw) -> Subject:
    return Subject((rule.forward, rule.backward), rule.inputs, rule.options)


def as_program(rule: Rule, draw: Draw) -> Subject:
    op, options = gl.Op(rule.forward, rule.backward, name="op"), rule.options

    def program(*inputs: Any) -> Any:
        return op(*inputs, **options)

    return Subject(program, rule.inputs)


def old_function(rule: Rule) -> type[torch.autograd.Function]:
    """The rule as a Function whose forward takes `ctx`."""
    options = rule.options

    class Old(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = rule.forward(*inputs, **options)
            ctx.several = isinstance(output, tuple)
            ctx.count = len(inputs)
            ctx.save_for_backward(*inputs, *(output if ctx.several else (output,)))
            return output

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            inputs, outputs = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
            if ctx.several:
                return rule.backward(grad_outputs, outputs, *inputs, **options)
            return rule.backward(grad_outputs[0], outputs[0], *inputs, **options)

    return Old


def new_function(rule: Rule) -> type[torch.autograd.Function]:
    """The rule as a Function with `setup_context`."""
    options = rule.options

    class New(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> Any:
            return rule.forward(*inputs, **options)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.several = isinstance(output, tuple)
            ctx.count = len(inputs)
            ctx.save_for_backward(*inputs, *(output if ctx.several else (output,)))

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            saved, several = ctx.saved_tensors, ctx.several
            inputs, outputs = saved[: ctx.count], saved[ctx.count :]
            grads = grad_outputs if several else grad_outputs[0]
            return rule.backward(grads, outputs if several else outputs[0], *inputs, **options)

    return New


def as_old_function(rule: Rule, draw: Draw) -> Subject:
    function = old_function(rule)
    return Subject(draw.of((function, function.apply)), rule.inputs)


def as_new_function(rule: Rule, draw: Draw) -> Subject:
    function = new_function(rule)
    return Subject(draw.of((function, function.apply)), rule.inputs)


def as_plain(rule: Rule, draw: Draw) -> Subject:
    function, scale = draw.of((old_function, new_function))(rule), draw.number(0.5, 2)
    around = draw.of((torch.sum, torch.neg))

    def plain(*inputs: Any) -> Any:
        output = function.apply(*inputs)
        if isinstance(output, tuple):
            return tuple(part * scale for part in output)
        return around(output) * scale

    return Subject(plain, rule.inputs)


def as_module(rule: Rule, draw: Draw) -> Subject:
    function = draw.of((old_function, new_function))(rule)
    parameters = [v for v in rule.inputs[1:] if v.is_floating_point() or v.is_complex()]
    if len(parameters) + 1 != len(rule.inputs):
        return as_old_function(rule, draw)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList([torch.nn.Parameter(v.clone()) for v in parameters])

        def forward(self, x: Tensor) -> Any:
            return function.apply(x, *self.weights)

    return Subject(Module(), rule.inputs[:1])


def as_layer(rule: Rule, draw: Draw) -> Subject:
    """A layer whose further inputs are parameters, W, b, ..., with gradients dW, db, ... beside them."""
    further = rule.inputs[1:]
    if len(further) > 2 or not all(v.is_floating_point() or v.is_complex() for v in further):
        return as_op(rule, draw)
    options, names = rule.options, ("W", "b")[: len(further)]

    class Layer:
        def __init__(self) -> None:
            for name, value in zip(names, further, strict=True):
                setattr(self, name, value.clone())
                setattr(self, f"d{name}", None)

        def forward(self, x: Tensor) -> Any:
            self.x = x
            self.out = rule.forward(x, *(getattr(self, name) for name in names), **options)
            return self.out

        def backward(self, dout: Any) -> Any:
            dx, *grads = rule.backward(dout, self.out, self.x, *(getattr(self, name) for name in names), **options)
            for name, grad in zip(names, grads, strict=True):
                setattr(self, f"d{name}", grad)
            return dx

    return Subject(Layer(), rule.inputs[:1])


FORMS: dict[str, Callable[[Rule, Draw], Subject]] = {
    "op": as_op,
    "pair": as_pair,
    "program": as_program,
    "old function": as_old_function,
    "new function": as_new_function,
    "plain": as_plain,
    "module": as_module,
    "layer": as_layer,
}


def subject_of(row: Row, draw: Draw) -> Subject:
    """Draw a call of a row, in a form and a dtype."""
    draw.dtype = draw.of(row.dtypes)
    made = row.make(draw)
    if isinstance(made, Subject):
        return made
    form = draw.of(row.only or tuple(FORMS))
    subject = FORMS[form](made, draw)
    return Subject(subject.op, subject.inputs, subject.options, form)


def sum_to(grad: Tensor, shape: torch.Size) -> Tensor:
    """Undo a broadcast, axis by axis."""
    while grad.ndim > len(shape):
        grad = grad.sum(0)
    for axis, size in enumerate(shape):
        if size == 1 and grad.shape[axis] != 1:
            grad = grad.sum(axis, keepdim=True)
    return grad


def in_float32(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that works in float32 where it is given 16 bits, and rounds once."""

    def wide(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(wide(part) for part in value)
        is_narrow = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if is_narrow else value

    def backward(grad_output: Any, output: Any, *inputs: Any, **options: Any) -> Any:
        grads = rule(wide(grad_output), wide(output), *map(wide, inputs), **options)
        return tuple(grad if grad is None else grad.to(value.dtype) for grad, value in zip(grads, inputs, strict=True))

    return backward
