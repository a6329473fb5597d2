"""Sound Functions and layers in the ways of their authors: what is saved, what is asked of `ctx`, where gradients are kept."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Subject, sound

# mypy: disable-error-code="override"


class SavedMask(Function):
    """A leaky ReLU that saves a mask and its slope as an attribute."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x > 0)
        ctx.slope = slope
        return torch.where(x > 0, x, x * slope)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        grad = grad_output * ctx.slope
        return torch.where(mask, grad_output, grad), None


@sound()
def saved_mask(draw: Draw) -> Subject:
    return Subject(draw.of((SavedMask, SavedMask.apply)), (draw.real(*draw.shape()), draw.number(0.01, 0.9)))


class SavedStatistics(Function):
    """A layer norm that saves normalised rows and their scale, and says that it is differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        mean = wide.mean(-1, keepdim=True)
        rstd = torch.rsqrt((wide - mean).square().mean(-1, keepdim=True) + eps)
        hat = (wide - mean) * rstd
        ctx.save_for_backward(hat, rstd, weight)
        return (hat * weight).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        hat, rstd, weight = ctx.saved_tensors
        grad = grad_output.to(hat.dtype)
        dweight = (grad * hat).reshape(-1, hat.shape[-1]).sum(0) if hat.numel() else torch.zeros_like(weight)
        grad = grad * weight
        grad = grad - grad.mean(-1, keepdim=True) - hat * (grad * hat).mean(-1, keepdim=True)
        return (rstd * grad).to(weight.dtype), dweight.to(weight.dtype), None


@sound()
def saved_statistics(draw: Draw) -> Subject:
    shape = (*draw.shape(0, 2, smallest=1), draw.size(2, 5))
    return Subject(SavedStatistics, (draw.real(*shape), draw.real(shape[-1]), draw.of((1e-5, 1e-2))))


class WhereNeeded(Function):
    """A product of matrices that computes what is asked for, with `setup_context`."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        a, b = ctx.saved_tensors
        da = grad_output @ b.T if ctx.needs_input_grad[0] else None
        db = (grad_output.T @ a).T if ctx.needs_input_grad[1] else None
        return da, db


@sound()
def where_needed(draw: Draw) -> Subject:
    m, k, n = (draw.size(1, 4) for _ in range(3))
    return Subject(draw.of((WhereNeeded, WhereNeeded.apply)), (draw.real(m, k), draw.real(k, n)))


class ValuesAndPlaces(Function):
    """The largest values and where they are; the places have no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        values, places = x.max(-1)
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(places)
        ctx.shape = x.shape
        return values, places

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, grad_places: Any) -> Any:
        (places,) = ctx.saved_tensors
        return grad_values.new_zeros(ctx.shape).scatter_(-1, places.unsqueeze(-1), grad_values.unsqueeze(-1))


@sound()
def values_and_places(draw: Draw) -> Subject:
    return Subject(ValuesAndPlaces, (draw.real(*draw.shape(1, 2, smallest=1)),))


class SavedOutput(Function):
    """A softmax that saves its output only and reuses a buffer of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int) -> Tensor:
        y = torch.softmax(x, axis)
        ctx.save_for_backward(y)
        ctx.axis = axis
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        buffer = grad_output.float().mul(y) if y.dtype in (torch.bfloat16, torch.float16) else grad_output.mul(y)
        buffer.sub_(y * buffer.sum(ctx.axis, keepdim=True))
        return buffer.to(y.dtype), None


@sound()
def saved_output(draw: Draw) -> Subject:
    shape = draw.shape(1, 3, smallest=1)
    return Subject(SavedOutput, (draw.real(*shape), draw.axis(shape)))


class FrozenMask(Function):
    """A dropout whose mask the caller draws."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - p)
        return x * keep * ctx.scale

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (keep,) = ctx.saved_tensors
        return (grad_output * ctx.scale).masked_fill(~keep, 0), None, None


@sound()
def frozen_mask(draw: Draw) -> Subject:
    shape = draw.shape(1)
    return Subject(FrozenMask, (draw.real(*shape), draw.mask(*shape), draw.of((0.0, 0.25, 0.5))))


class DrawnMask(Function):
    """A dropout that draws its mask from torch's generator."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        keep = torch.rand(x.shape) < 0.7
        ctx.save_for_backward(keep)
        return torch.where(keep, x / 0.7, 0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (keep,) = ctx.saved_tensors
        return torch.where(keep, grad_output / 0.7, 0)


@sound()
def drawn_mask(draw: Draw) -> Subject:
    return Subject(DrawnMask, (draw.real(*draw.shape(1, smallest=1)),))


class OptionalUpstreams(Function):
    """Two outputs whose upstreams may be None."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, b)
        return a * b, a.sin() - b

    @staticmethod
    def backward(ctx: Any, first: Any, second: Any) -> Any:
        a, b = ctx.saved_tensors
        da, db = torch.zeros_like(a), torch.zeros_like(b)
        if first is not None:
            da, db = da + first * b, db + first * a
        if second is not None:
            da, db = da + second * a.cos(), db - second
        return da, db


@sound()
def optional_upstreams(draw: Draw) -> Subject:
    shape = draw.shape(1)
    return Subject(OptionalUpstreams, tuple(draw.real(*shape, kind="ordinary") for _ in range(2)))


class LinearLayer:
    """A torch layer as a notebook writes it."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias
        self.grad_weight: Any = None
        self.grad_bias: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.cache = x
        return x @ self.weight + self.bias

    def backward(self, dout: Tensor) -> Tensor:
        self.grad_weight = self.cache.T @ dout
        self.grad_bias = dout.sum(0)
        return dout @ self.weight.T


@sound(dtypes=WIDE)
def linear_layer(draw: Draw) -> Subject:
    n, d, e = (draw.size(1, 4) for _ in range(3))
    return Subject(LinearLayer(draw.real(d, e), draw.real(e)), (draw.real(n, d),))


class DictionaryLayer(LinearLayer):
    """The same, its gradients in a dictionary under the names of its parameters."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias
        self.grads: dict[str, Tensor] = {}

    def backward(self, dout: Tensor) -> Tensor:
        self.grads["weight"] = self.cache.T @ dout
        self.grads["bias"] = dout.sum(0)
        return dout @ self.weight.T


@sound(dtypes=WIDE)
def dictionary_layer(draw: Draw) -> Subject:
    n, d, e = (draw.size(1, 4) for _ in range(3))
    return Subject(DictionaryLayer(draw.real(d, e), draw.real(e)), (draw.real(n, d),))


class TwoLayers:
    """A small network with kinks; it keeps activations between its passes."""

    def __init__(self, W1: Tensor, W2: Tensor) -> None:
        self.W1, self.W2 = W1, W2
        self.dW1, self.dW2 = torch.zeros_like(W1), torch.zeros_like(W2)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self.hidden = (x @ self.W1).clamp(min=0)
        return self.hidden @ self.W2

    def backward(self, dout: Tensor) -> Tensor:
        dhidden = (dout @ self.W2.T) * (self.hidden > 0)
        self.dW2 = self.hidden.T @ dout
        self.dW1 = self.x.T @ dhidden
        return dhidden @ self.W1.T


@sound(dtypes=WIDE)
def two_layers(draw: Draw) -> Subject:
    n, d, h, e = (draw.size(1, 3) for _ in range(4))
    return Subject(TwoLayers(draw.real(d, h), draw.real(h, e)), (draw.real(n, d),))


class AccumulatingLayers(TwoLayers):
    """The same, which adds into its gradients until they are made zero."""

    def zero_grad(self) -> None:
        self.dW1.zero_()
        self.dW2.zero_()

    def backward(self, dout: Tensor) -> Tensor:
        dhidden = (dout @ self.W2.T) * (self.hidden > 0)
        self.dW2 += self.hidden.T @ dout
        self.dW1 += self.x.T @ dhidden
        return dhidden @ self.W1.T


@sound(dtypes=WIDE)
def accumulating_layers(draw: Draw) -> Subject:
    n, d, h, e = (draw.size(1, 3) for _ in range(4))
    return Subject(AccumulatingLayers(draw.real(d, h), draw.real(h, e)), (draw.real(n, d),))
