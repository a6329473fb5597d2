"""NumPy layers in the style of the books, and the same with one line wrong."""

from typing import Any

import numpy as np

Array = Any


class MulLayer:
    def __init__(self) -> None:
        self.x: Any = None
        self.y: Any = None

    def forward(self, x: Array, y: Array) -> Array:
        self.x = x
        self.y = y
        return x * y

    def backward(self, dout: Array) -> Any:
        dx = dout * self.y
        dy = dout * self.x
        return dx, dy


class SwappedMul(MulLayer):
    def backward(self, dout: Array) -> Any:
        return dout * self.x, dout * self.y


class ForgetfulMul(MulLayer):
    def backward(self, dout: Array) -> Any:
        return dout * self.y


class GenerousMul(MulLayer):
    def backward(self, dout: Array) -> Any:
        return dout * self.y, dout * self.x, dout


class AddLayer:
    def forward(self, x: Array, y: Array) -> Array:
        return x + y

    def backward(self, dout: Array) -> Any:
        dx = dout * 1
        dy = dout * 1
        return dx, dy


class SubtractingAdd(AddLayer):
    def backward(self, dout: Array) -> Any:
        return dout * 1, dout * -1


class Relu:
    def __init__(self) -> None:
        self.mask: Any = None

    def forward(self, x: Array) -> Array:
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout: Array) -> Array:
        dout = dout.copy()
        dout[self.mask] = 0
        return dout


class RecklessRelu(Relu):
    def backward(self, dout: Array) -> Array:
        dout[self.mask] = 0
        return dout


class OpenRelu(Relu):
    def backward(self, dout: Array) -> Array:
        return dout * 1


class Sigmoid:
    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: Array) -> Array:
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (1.0 - self.out) * self.out


class HalfSigmoid(Sigmoid):
    def backward(self, dout: Array) -> Array:
        return dout * (1.0 - self.out)


class Log:
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.log(x)

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def backward(self, dout: Array) -> Array:
        return dout / self.x


class NegativeLog(Log):
    def backward(self, dout: Array) -> Array:
        return -dout / self.x


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.W = W
        self.b = b
        self.x: Any = None
        self.original_x_shape: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        self.original_x_shape = x.shape
        x = x.reshape(x.shape[0], -1)
        self.x = x
        return np.dot(self.x, self.W) + self.b

    def backward(self, dout: Array) -> Array:
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx.reshape(*self.original_x_shape)


class MeanBias(Affine):
    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.db = np.mean(dout, axis=0)
        return dx


class ForgottenWeight(Affine):
    def backward(self, dout: Array) -> Array:
        dx = np.dot(dout, self.W.T)
        self.db = np.sum(dout, axis=0)
        return dx.reshape(*self.original_x_shape)


class MatMul:
    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.x: Any = None

    def forward(self, x: Array) -> Array:
        (W,) = self.params
        self.x = x
        return np.dot(x, W)

    def backward(self, dout: Array) -> Array:
        (W,) = self.params
        self.grads[0][...] = np.dot(self.x.T, dout)
        return np.dot(dout, W.T)


class TwiceMatMul(MatMul):
    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.grads[0][...] *= 2
        return dx


class Dictionary:
    """Parameters in a dict, their gradients in another, which only the backward fills."""

    def __init__(self, W: Array, b: Array) -> None:
        self.params = {"W": W, "b": b}
        self.grads: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dout: Array) -> Array:
        self.grads["W"] = self.x.T @ dout
        self.grads["b"] = dout.sum(axis=0)
        return dout @ self.params["W"].T


class NegativeDictionary(Dictionary):
    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.grads["b"] = -self.grads["b"]
        return dx


class Returning:
    """Gradients of the parameters returned beside that of the input."""

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout: Array) -> Any:
        dW = self.x.T @ dout
        db = dout.sum(axis=0)
        return dout @ self.W.T, dW, db


class TwiceReturning(Returning):
    def backward(self, dout: Array) -> Any:
        dx, dW, db = super().backward(dout)
        dW = dW * 2
        return dx, dW, db


class LeavesBehind:
    """Output and gradients left on the layer, nothing returned; weights and dweights."""

    def __init__(self, weights: Array, biases: Array) -> None:
        self.weights, self.biases = weights, biases

    def forward(self, inputs: Array) -> None:
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues: Array) -> None:
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)


class TransposedLeft(LeavesBehind):
    def backward(self, dvalues: Array) -> None:
        super().backward(dvalues)
        self.dinputs = np.dot(dvalues, self.weights)


class Embedding:
    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]

    def forward(self, idx: Array) -> Array:
        (W,) = self.params
        self.idx = idx
        return W[idx]

    def backward(self, dout: Array) -> None:
        (dW,) = self.grads
        dW[...] = 0
        np.add.at(dW, self.idx, dout)


class OverwritingEmbedding(Embedding):
    def backward(self, dout: Array) -> None:
        (dW,) = self.grads
        dW[...] = 0
        dW[self.idx] = dout


class Scale:
    """A parameter whose gradient has a name that nobody would guess."""

    def __init__(self, weight: Array) -> None:
        self.weight = weight
        self.sensitivity: Any = None

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.weight * x

    def backward(self, dout: Array) -> Array:
        self.sensitivity = (dout * self.x).sum(axis=0)
        return dout * self.weight


class TwoNames(Scale):
    def __init__(self, weight: Array) -> None:
        super().__init__(weight)
        self.dweight = np.zeros_like(weight)
        self.grad_weight = np.zeros_like(weight)


class Dense:
    """The tutorial style: the backward takes a learning rate too."""

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.weights

    def backward(self, output_gradient: Array, learning_rate: float) -> Array:
        self.weights_gradient = self.x.T @ output_gradient
        return output_gradient @ self.weights.T


class Dropout:
    def __init__(self, ratio: float = 0.5) -> None:
        self.ratio = ratio

    def forward(self, x: Array) -> Array:
        self.mask = np.random.rand(*x.shape) > self.ratio
        return x * self.mask

    def backward(self, dout: Array) -> Array:
        return dout * self.mask


class Steered:
    """Python's control flow depends on a value, which no trace follows."""

    def forward(self, x: Array) -> Array:
        self.x = x
        self.factor = 3.0 if x.sum() > 0 else 2.0
        return self.factor * x**2

    def backward(self, dout: Array) -> Array:
        return 2 * self.factor * self.x * dout


class Unsteered(Steered):
    def backward(self, dout: Array) -> Array:
        return 2 * self.x * dout


class Network:
    """Layers within a layer."""

    def __init__(self, first: Any, second: Any) -> None:
        self.layers = [first, Relu(), second]

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout: Array) -> Array:
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout
