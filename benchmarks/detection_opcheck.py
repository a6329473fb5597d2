"""What `torch.library.opcheck` says about a custom op as it is, and about other subjects once they are registered as one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, opcheck

from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.subject import Subject
from gradcheck_lab.torch_internals import CustomOpDef
from tests.mistakes.registry import Mistake, operator_name


def objects(row: Mistake, subject: Any) -> bool:
    """Whether one of its four tests fails on the call of a row."""
    inputs = [_leaf(value) for value in deepcopy(row.inputs)]
    if isinstance(subject, CustomOpDef):
        found = opcheck(subject, tuple(inputs), dict(row.options), raise_exception=False)
    else:
        adapted = adapt(subject, tuple(inputs), dict(row.options))
        registered = _Registered(row, adapted)
        tensors = tuple(value for value in adapted.inputs if isinstance(value, Tensor))
        found = opcheck(registered.operator(), tuple(map(_leaf, tensors)), raise_exception=False)
    return any(result != "SUCCESS" for result in found.values())


@dataclass(frozen=True, slots=True)
class _Registered:
    """A subject as an author would register it: forward and backward are kernels, and their fakes have the right shapes."""

    row: Mistake
    subject: Subject

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs."""
        return [_copy(o) for o in self.subject.record(self._all(tensors), dict(self.row.options)).outputs]

    def backward(self, grads: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
        """One gradient for each tensor; zeros where there is none."""
        recording = self.subject.record(self._all(tensors), dict(self.row.options))
        returned = as_tuple(recording.backward(tuple(grads)).returned)
        of_tensors = [g for g, v in zip(returned, self.subject.inputs, strict=False) if isinstance(v, Tensor)]
        return [_copy(g) if isinstance(g, Tensor) else torch.zeros_like(v) for g, v in zip(of_tensors, tensors, strict=False)]

    def operator(self) -> Any:
        """The custom op."""
        shapes = [(o.shape, o.dtype) for o in self.forward([v for v in self.subject.inputs if isinstance(v, Tensor)])]
        names = [f"a{i}" for i, v in enumerate(self.subject.inputs) if isinstance(v, Tensor)]
        arguments = ", ".join(f"Tensor {name}" for name in names)
        results = ", ".join(f"Tensor r{i}" for i in range(len(shapes)))
        kernel = custom_op(operator_name("forward"), mutates_args=(), schema=f"({arguments}) -> ({results})")(
            lambda *tensors: _one_or_more(self.forward(tensors))
        )
        rule = custom_op(operator_name("backward"), mutates_args=(), schema="(Tensor[] grads, Tensor[] tensors) -> Tensor[]")(
            self.backward
        )
        kernel.register_fake(lambda *tensors: _one_or_more([tensors[0].new_empty(s, dtype=d) for s, d in shapes]))
        rule.register_fake(lambda grads, tensors: [torch.empty_like(v) for v in tensors])

        def backward(ctx: Any, *grads: Tensor) -> Any:
            returned = rule(list(grads), list(ctx.saved_tensors))
            return tuple(
                g if v.is_floating_point() or v.is_complex() else None for g, v in zip(returned, ctx.saved_tensors, strict=True)
            )

        kernel.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
        return kernel

    def _all(self, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
        rest = iter(tensors)
        return tuple(next(rest).detach() if isinstance(value, Tensor) else value for value in self.subject.inputs)


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)


def _one_or_more(values: list[Tensor]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
        return value.detach().clone().requires_grad_()
    return value
