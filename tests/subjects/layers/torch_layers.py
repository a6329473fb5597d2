"""torch layers with a backward by hand, as teaching code writes them, and the same with one line wrong."""

from typing import Any

import torch

Tensor = Any


class Linear:
    """Gradients on the tensors, as `W.grad_`."""

    def __init__(self, W: Tensor, b: Tensor) -> None:
        self.W, self.b = W, b

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ self.W.T + self.b

    def backward(self, grad_output: Tensor) -> Tensor:
        self.W.grad_ = grad_output.T @ self.x
        self.b.grad_ = grad_output.sum(0)
        return grad_output @ self.W


class TransposedLinear(Linear):
    def backward(self, grad_output: Tensor) -> Tensor:
        grad = super().backward(grad_output)
        self.W.grad_ = self.W.grad_.T.reshape(self.W.shape)
        return grad


class Accumulating:
    """Parameters in the layer, gradients in `.grad`, added to as an optimizer expects."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.weight.grad = torch.ones_like(weight)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x * self.weight

    def backward(self, grad_output: Tensor) -> Tensor:
        self.weight.grad += (grad_output * self.x).sum(0)
        return grad_output * self.weight


class LastRowOnly(Accumulating):
    def backward(self, grad_output: Tensor) -> Tensor:
        self.weight.grad += grad_output[-1] * self.x[-1]
        return grad_output * self.weight


class Lin:
    """The whole exchange through `.g`: the upstream on the output, the gradients on inputs and parameters."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        self.w, self.b = w, b

    def __call__(self, inp: Tensor) -> Tensor:
        self.inp = inp
        self.out = inp @ self.w + self.b
        return self.out

    def backward(self) -> None:
        self.inp.g = self.out.g @ self.w.t()
        self.w.g = self.inp.t() @ self.out.g
        self.b.g = self.out.g.sum(0)


class MeanLin(Lin):
    def backward(self) -> None:
        super().backward()
        self.b.g = self.out.g.mean(0)


class Mse:
    """A loss by the same exchange: nothing comes from above."""

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        self.inp, self.targ = inp, targ
        return (inp.squeeze(-1) - targ).pow(2).mean()

    def backward(self) -> None:
        self.inp.g = 2.0 * (self.inp.squeeze(-1) - self.targ).unsqueeze(-1) / self.targ.shape[0]


class SummedMse(Mse):
    def backward(self) -> None:
        super().backward()
        self.inp.g = self.inp.g * self.targ.shape[0]


class Neuron(torch.nn.Module):
    """A module with a backward of its own; the buffer is no parameter."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(1.0, features + 1, dtype=torch.float64))
        self.register_buffer("offset", torch.ones(features, dtype=torch.float64))
        self.grad_weight: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return torch.tanh(self.weight * x + self.offset)

    def backward(self, grad_output: Tensor) -> Tensor:
        grad = grad_output * (1 - torch.tanh(self.weight * self.x + self.offset) ** 2)
        self.grad_weight = (grad * self.x).sum(0)
        return grad * self.weight


class WrongNeuron(Neuron):
    def backward(self, grad_output: Tensor) -> Tensor:
        grad = grad_output * (1 - torch.tanh(self.weight * self.x + self.offset) ** 2)
        self.grad_weight = grad.sum(0)
        return grad * self.weight


class Split:
    """Two outputs, two upstream gradients."""

    def forward(self, x: Tensor) -> Any:
        self.x = x
        return x.sin(), x.cos()

    def backward(self, grad_sin: Tensor, grad_cos: Tensor) -> Tensor:
        return grad_sin * self.x.cos() - grad_cos * self.x.sin()


class OneSidedSplit(Split):
    def backward(self, grad_sin: Tensor, grad_cos: Tensor) -> Tensor:
        return grad_sin * self.x.cos()
