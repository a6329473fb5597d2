"""Backwards that depend on how inputs lie in memory, on which of them require grad, or on their being different tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_lab.ops import mul
from gradcheck_lab.rules.op import Op
from tests.mistakes.row import Mistake, Pair, normal

# mypy: disable-error-code="override"

X, Y, W = normal(4, 3), normal(4, 3, seed=1), normal(2, 3, seed=2)


def in_memory_order(x: Tensor) -> Tensor:
    """The elements as a kernel without strides reads them: one after the other from the first."""
    held = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    return torch.as_strided(x, x.shape, torch.empty(x.shape).stride(), x.storage_offset()) if held >= x.numel() else x


def square_op(read: Callable[[Tensor], Tensor]) -> Op:
    return Op(torch.square, lambda g, y, x: (2 * g * read(x),), name="square")


def product_function(read: Callable[[Tensor], Tensor]) -> type[Function]:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            return grad_output * y, grad_output * read(x)

    return Product


def viewing(reshape: str) -> Op:
    """A row sum of squares whose rule flattens x."""
    return Op(
        lambda x: x.square().sum(-1),
        lambda g, y, x: (2 * (getattr(x, reshape)(-1) * g.repeat_interleave(x.shape[-1])).reshape(x.shape),),
        name="row_squares",
    )


class CubeLayer:
    def __init__(self, order: str) -> None:
        self.order: Any = order

    def forward(self, x: Any) -> Any:
        self.x = x
        return x**3

    def backward(self, dout: Any) -> Any:
        return 3 * dout * (self.x.ravel(order=self.order) ** 2).reshape(self.x.shape)


def program_square(read: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    square = square_op(read)
    return lambda x, y: mul(square(x), y)


def linear_saving(for_input: int, for_weight: int) -> type[Function]:
    """A linear map that saves the weight where input `for_input` needs a gradient, and x where `for_weight` does."""

    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            needs = ctx.needs_input_grad
            ctx.save_for_backward(x if needs[for_weight] else None, weight if needs[for_input] else None)
            return x @ weight.T

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            needs = ctx.needs_input_grad
            return grad_output @ weight if needs[0] else None, grad_output.T @ x if needs[1] else None

    return Linear


def product_needing(first: int, second: int) -> type[Function]:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return x * y.exp()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            needs, g = ctx.needs_input_grad, grad_output * y.exp()
            return g if needs[first] else None, g * x if needs[second] else None

    return Product


def packed_gradients(packed: bool) -> type[Function]:
    """A sum of products whose gradients move up when an earlier input needs none."""

    class Affine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
            ctx.save_for_backward(x, scale)
            return x * scale + shift

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, scale = ctx.saved_tensors
            grads = (grad_output * scale, grad_output * x, grad_output)
            if not packed:
                return grads
            wanted = [grad for grad, need in zip(grads, ctx.needs_input_grad, strict=True) if need]
            return (*wanted, *[None] * (3 - len(wanted)))

    return Affine


class ScaledBy(torch.nn.Module):
    """A module that goes through a Function."""

    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.function = function
        self.weight = torch.nn.Parameter(W.clone())

    def forward(self, x: Tensor) -> Any:
        return self.function.apply(x, self.weight)


def product_by_key(key: Callable[[Tensor], int] | None) -> Op:
    """A product whose gradients are kept by a key of the tensor that they belong to; None: by position."""

    def rule(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        if key is None:
            return g * b, g * a
        grads = {key(a): g * b, key(b): g * a}
        return grads.pop(key(a)), grads.pop(key(b), None)

    return Op(lambda a, b: a * b, rule, name="product")


def difference_by_storage(by_storage: bool) -> type[Function]:
    class Distance(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return a * a + 3 * b

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            a, b = ctx.saved_tensors
            if by_storage and a.data_ptr() == b.data_ptr():
                return 2 * grad_output * a, None
            return 2 * grad_output * a, 3 * grad_output

    return Distance


def program_by_key(key: Callable[[Tensor], int] | None) -> Callable[..., Any]:
    product = product_by_key(key)
    return lambda x, y: product(x, y)


class Product:
    def __init__(self, shared: bool) -> None:
        self.shared = shared

    def forward(self, a: Any, b: Any) -> Any:
        self.a, self.b = a, b
        return a * b

    def backward(self, dout: Any) -> Any:
        if self.shared and np.shares_memory(self.a, self.b):
            return dout * self.a, None
        return dout * self.b, dout * self.a


def both(make: Callable[..., Any], wrong: Any, sound: Any, *inputs: Any) -> Callable[[], Pair]:
    return lambda: (make(*wrong), make(*sound), inputs, {})


def itself(x: Tensor) -> Tensor:
    return x


MISTAKES = [
    Mistake("square", "input-layout", both(square_op, (in_memory_order,), (itself,), X)),
    Mistake("function-product", "input-layout", both(product_function, (in_memory_order,), (itself,), X, Y)),
    Mistake("view", "input-layout", both(viewing, ("view",), ("reshape",), X)),
    Mistake("layer", "input-layout", both(CubeLayer, ("K",), ("C",), X.numpy())),
    Mistake("program-square", "input-layout", both(program_square, (in_memory_order,), (itself,), X, Y)),
    Mistake("saved-for-the-other", "needs-input-grad", both(linear_saving, (1, 0), (0, 1), X, W)),
    Mistake("asks-for-the-other", "needs-input-grad", both(product_needing, (1, 1), (0, 1), X, Y)),
    Mistake("packed", "needs-input-grad", both(packed_gradients, (True,), (False,), X, Y, normal(4, 3, seed=3))),
    Mistake(
        "module",
        "needs-input-grad",
        lambda: (ScaledBy(linear_saving(1, 0)), ScaledBy(linear_saving(0, 1)), (X,), {}),
    ),
    Mistake("identity", "aliased-inputs", both(product_by_key, (id,), (None,), X, Y)),
    Mistake("storage", "aliased-inputs", both(difference_by_storage, (True,), (False,), X, Y)),
    Mistake("layer", "aliased-inputs", both(Product, (True,), (False,), X.numpy(), Y.numpy())),
    Mistake("program", "aliased-inputs", both(program_by_key, (Tensor.data_ptr,), (None,), X, Y)),
]
