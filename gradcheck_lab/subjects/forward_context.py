"""A replacement for `ctx`: with it, the forward of an `autograd.Function` runs outside `apply`, so that autograd tracks it."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.torch_internals import without_torch_function


class ForwardContext:
    """What a forward needs of `ctx`: it saves tensors, marks inputs and outputs, and takes attributes of any name.

    `needs_input_grad` has one entry per forward argument, as in `torch.autograd.function.FunctionCtx`.

    >>> ctx = ForwardContext((True, False))
    >>> ctx.scale = 2.0
    >>> ctx.save_for_backward(torch.ones(2))
    >>> len(ctx.saved_tensors)
    1
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.__saved: tuple[Any, ...] = ()
        self.__non_differentiable: tuple[Any, ...] = ()

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self.__saved

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        return self.__saved

    def save_for_backward(self, *tensors: Any) -> None:
        self.__saved = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        pass

    def mark_dirty(self, *tensors: Any) -> None:
        pass

    def mark_non_differentiable(self, *outputs: Any) -> None:
        self.__non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        pass

    def finish(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the outputs as `apply` would: those marked non-differentiable are detached."""
        marked = {id(value) for value in self.__non_differentiable}
        # this detach is not the user's: a mode that looks for detach in the body must not see it
        with without_torch_function():
            return tuple(
                value.detach() if id(value) in marked and isinstance(value, torch.Tensor) else value for value in outputs
            )
