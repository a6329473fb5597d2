"""One rule in the forms that users have: `rule(g, output, *inputs)` returns a gradient per input."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

import gradcheck_lab as gl
from tests.mistakes.registry import operator_name

Rule = Callable[..., Any]


def pair(forward: Rule, rule: Rule) -> gl.Op:
    """An op of two functions."""
    return gl.Op(forward, rule, name=getattr(rule, "__name__", "op"))


def function(forward: Rule, rule: Rule) -> type[Function]:
    """A Function that saves inputs and outputs."""

    class Written(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = forward(*inputs)
            ctx.several = isinstance(output, tuple)
            ctx.count = len(inputs)
            ctx.rest = {i: v for i, v in enumerate(inputs) if not isinstance(v, Tensor)}
            ctx.save_for_backward(*(v for v in inputs if isinstance(v, Tensor)), *(output if ctx.several else (output,)))
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            saved = iter(ctx.saved_tensors)
            inputs = [ctx.rest[i] if i in ctx.rest else next(saved) for i in range(ctx.count)]
            outputs = tuple(saved)
            return rule(grads if ctx.several else grads[0], outputs if ctx.several else outputs[0], *inputs)

    return Written


def module(forward: Rule, rule: Rule) -> torch.nn.Module:
    """A module around such a Function."""
    written = function(forward, rule)

    class Module(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return written.apply(*inputs)

    return Module()


def layer(forward: Rule, rule: Rule) -> Any:
    """A layer object that keeps what its forward saw."""

    class Layer:
        def forward(self, *inputs: Any) -> Any:
            self.inputs, self.output = inputs, forward(*inputs)
            return self.output

        def backward(self, dout: Any) -> Any:
            grads = rule(dout, self.output, *self.inputs)
            return grads[0] if isinstance(grads, tuple) and len(grads) == 1 else grads

    return Layer()


def operator(forward: Rule, rule: Rule) -> Any:
    """A custom operator of as many tensors as `forward` has parameters, with one output."""
    names = list(inspect.signature(forward).parameters)
    schema = f"({', '.join(f'Tensor {name}' for name in names)}) -> Tensor"

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output, *inputs)

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        output, *inputs = ctx.saved_tensors
        grads = rule(grad_output, output, *inputs)
        return grads[0] if isinstance(grads, tuple) and len(grads) == 1 else grads

    made: Any = custom_op(operator_name("op"), forward, mutates_args=(), schema=schema)
    made.register_fake(lambda *inputs: torch.empty_like(forward(*inputs)))
    made.register_autograd(backward, setup_context=setup_context)
    return made
