"""Layer objects: parameters and gradients found as people name them, sound layers pass, planted mistakes are named."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.subjects.layers.adapter import adapt_layer
from gradcheck_lab.subjects.layers.paths import read_path
from gradcheck_lab.subjects.readings.reading import PASTE
from gradcheck_lab.subjects.untraceable import Untraceable
from tests.subjects.layers import naming_styles, torch_layers
from tests.subjects.layers import numpy_images as images
from tests.subjects.layers import numpy_layers as layers
from tests.subjects.layers import numpy_losses as losses

Make = Callable[[], tuple[Any, ...]]


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(sum(shape) + seed).normal(size=shape)


def tensor(*shape: int) -> torch.Tensor:
    return torch.from_numpy(array(*shape))


def one_hot(*labels: int, classes: int = 3) -> Any:
    return np.eye(classes)[list(labels)]


LABELS = np.array([0, 2, 1, 2])
CALLS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "mul-floats": (lambda: (layers.MulLayer(), 100.0, 2.5), ("x", "y")),
    "mul-arrays": (lambda: (layers.MulLayer(), array(3, 2), array(3, 2, seed=1)), ("x", "y")),
    "add-floats": (lambda: (layers.AddLayer(), 0.5, -2.0), ("x", "y")),
    "class-without-arguments": (lambda: (layers.MulLayer, array(3), array(3, seed=1)), ("x", "y")),
    "relu": (lambda: (layers.Relu(), array(4, 3)), ("x",)),
    "relu-given-a-tensor": (lambda: (layers.Relu(), tensor(4, 3)), ("x",)),
    "sigmoid": (lambda: (layers.Sigmoid(), array(4, 3)), ("x",)),
    "log": (lambda: (layers.Log(), np.exp(array(4, 3))), ("x",)),
    "affine-2d": (lambda: (layers.Affine(array(3, 5), array(5)), array(4, 3)), ("x", "W", "b")),
    "affine-4d": (lambda: (layers.Affine(array(12, 5), array(5)), array(4, 3, 2, 2)), ("x", "W", "b")),
    "affine-float32": (
        lambda: (layers.Affine(array(3, 5).astype("f"), array(5).astype("f")), array(4, 3).astype("f")),
        ("x", "W", "b"),
    ),
    "matmul-lists": (lambda: (layers.MatMul(array(3, 5)), array(4, 3)), ("x", "params[0]")),
    "dictionaries": (lambda: (layers.Dictionary(array(3, 5), array(5)), array(4, 3)), ("x", "params['W']", "params['b']")),
    "returned": (lambda: (layers.Returning(array(3, 5), array(5)), array(4, 3)), ("x", "W", "b")),
    "left-behind": (
        lambda: (layers.LeavesBehind(array(3, 5), array(1, 5)), array(4, 3)),
        ("inputs", "weights", "biases"),
    ),
    "embedding": (lambda: (layers.Embedding(array(5, 3)), np.array([0, 3, 3])), ("params[0]",)),
    "named": (lambda: (gl.Layer(layers.Scale(array(3)), grads={"weight": "sensitivity"}), array(4, 3)), ("x", "weight")),
    "network": (
        lambda: (layers.Network(layers.Affine(array(3, 5), array(5)), layers.MatMul(array(5, 2))), array(4, 3)),
        ("x", "layers[0].W", "layers[0].b", "layers[2].params[0]"),
    ),
    "convolution": (
        lambda: (images.Convolution(array(3, 2, 3, 3), array(3), pad=1), array(2, 2, 5, 5)),
        ("x", "W", "b"),
    ),
    "pooling": (lambda: (images.Pooling, array(2, 2, 4, 4)), ("x",)),
    "batch-norm": (lambda: (images.BatchNormalization(array(3), array(3, seed=1)), array(5, 3)), ("x", "gamma", "beta")),
    "softmax-labels": (lambda: (losses.SoftmaxWithLoss(), array(4, 3), LABELS), ("x",)),
    "softmax-one-hot": (lambda: (losses.SoftmaxWithLoss, array(4, 3), one_hot(0, 2, 1, 2)), ("x",)),
    "squared-error": (lambda: (losses.SquaredError, array(4, 3), array(4, 3, seed=1)), ("y",)),
    "distance": (lambda: (losses.Distance(), array(4, 3), array(4, 3, seed=1)), ("a", "b")),
    "retaking": (lambda: (losses.Retaking(), array(4, 3), array(4, 3, seed=1)), ("y_pred",)),
    "dropout": (lambda: (layers.Dropout(), array(4, 3)), ("x",)),
    "steered": (lambda: (layers.Steered(), array(4, 3)), ("x",)),
    "torch-grad_": (lambda: (torch_layers.Linear(tensor(5, 3), tensor(5)), tensor(4, 3)), ("x", "W", "b")),
    "torch-grad": (lambda: (torch_layers.Accumulating(tensor(3)), tensor(4, 3)), ("x", "weight")),
    "torch-g": (lambda: (torch_layers.Lin(tensor(3, 5), tensor(5)), tensor(4, 3)), ("inp", "w", "b")),
    "torch-g-loss": (lambda: (torch_layers.Mse(), tensor(4, 1), tensor(4)), ("inp",)),
    "torch-module": (lambda: (torch_layers.Neuron(), tensor(4, 3)), ("x", "weight")),
    "torch-two-outputs": (lambda: (torch_layers.Split, tensor(4, 3)), ("x",)),
}
WRONG: dict[str, tuple[Make, str, str]] = {
    "mul-swapped": (lambda: (layers.SwappedMul(), 100.0, 2.5), "x", ""),
    "mul-forgotten": (lambda: (layers.ForgetfulMul(), array(3), array(3, seed=1)), "y", "missing-gradient"),
    "add-sign": (lambda: (layers.SubtractingAdd(), array(3), array(3, seed=1)), "y", "sign"),
    "relu-open": (lambda: (layers.OpenRelu(), array(4, 3)), "x", ""),
    "sigmoid-half": (lambda: (layers.HalfSigmoid(), array(4, 3)), "x", ""),
    "log-sign": (lambda: (layers.NegativeLog(), np.exp(array(4, 3))), "x", "sign"),
    "affine-mean": (lambda: (layers.MeanBias(array(3, 5), array(5)), array(4, 3)), "b", "constant-factor"),
    "affine-4d-mean": (lambda: (layers.MeanBias(array(12, 5), array(5)), array(4, 3, 2, 2)), "b", "constant-factor"),
    "affine-forgotten": (lambda: (layers.ForgottenWeight(array(3, 5), array(5)), array(4, 3)), "W", "missing-gradient"),
    "matmul-twice": (lambda: (layers.TwiceMatMul(array(3, 5)), array(4, 3)), "params[0]", "constant-factor"),
    "dictionaries-sign": (lambda: (layers.NegativeDictionary(array(3, 5), array(5)), array(4, 3)), "params['b']", "sign"),
    "returned-twice": (lambda: (layers.TwiceReturning(array(3, 5), array(5)), array(4, 3)), "W", "constant-factor"),
    "left-transposed": (lambda: (layers.TransposedLeft(array(3, 3), array(1, 3)), array(4, 3)), "inputs", ""),
    "embedding-repeated": (lambda: (layers.OverwritingEmbedding(array(5, 3)), np.array([0, 3, 3])), "params[0]", ""),
    "network-inner": (
        lambda: (layers.Network(layers.Affine(array(3, 5), array(5)), layers.TwiceMatMul(array(5, 2))), array(4, 3)),
        "layers[2].params[0]",
        "constant-factor",
    ),
    "convolution-overlap": (
        lambda: (images.OverwritingConvolution(array(3, 2, 3, 3), array(3), pad=1), array(2, 2, 5, 5)),
        "x",
        "",
    ),
    "pooling-first": (lambda: (images.FirstPooling, array(2, 2, 4, 4)), "x", ""),
    "batch-norm-variance": (lambda: (images.FrozenVariance(array(3), array(3, seed=1)), array(5, 3)), "x", ""),
    "softmax-deaf": (lambda: (losses.DeafLoss(), array(4, 3), LABELS), "x", ""),
    "softmax-one-hot-sum": (lambda: (losses.SummedLoss(), array(4, 3), one_hot(0, 2, 1, 2)), "x", "constant-factor"),
    "squared-error-double": (lambda: (losses.DoubledError(), array(4, 3), array(4, 3, seed=1)), "y", "constant-factor"),
    "distance-sign": (lambda: (losses.OneSignDistance(), array(4, 3), array(4, 3, seed=1)), "b", "sign"),
    "steered": (lambda: (layers.Unsteered(), array(4, 3)), "x", ""),
    "torch-grad_": (lambda: (torch_layers.TransposedLinear(tensor(5, 3), tensor(5)), tensor(4, 3)), "W", ""),
    "torch-grad": (lambda: (torch_layers.LastRowOnly(tensor(3)), tensor(4, 3)), "weight", ""),
    "torch-g": (lambda: (torch_layers.MeanLin(tensor(3, 5), tensor(5)), tensor(4, 3)), "b", "constant-factor"),
    "torch-g-loss": (lambda: (torch_layers.SummedMse(), tensor(4, 1), tensor(4)), "inp", "constant-factor"),
    "torch-module": (lambda: (torch_layers.WrongNeuron(), tensor(4, 3)), "weight", ""),
    "torch-two-outputs": (lambda: (torch_layers.OneSidedSplit(), tensor(4, 3)), "x", ""),
}


@pytest.mark.parametrize("name", CALLS)
def test_sound_layer_passes_and_every_gradient_is_named(name: str) -> None:
    make, gradients = CALLS[name]
    report = gl.check(*make(), probes=())
    assert report.verdict == "pass", report
    assert tuple(gradient.name for gradient in report.gradients) == gradients
    assert report.kind == "layer"


@pytest.mark.parametrize("name", WRONG)
def test_planted_mistake_fails_at_the_right_gradient(name: str) -> None:
    make, gradient, cause = WRONG[name]
    report = gl.check(*make(), probes=())
    assert report.verdict == "fail", report
    found = [finding for finding in report.findings if finding.severity == "error"]
    assert found[0].gradient == gradient, report
    assert not cause or found[0].cause == cause, report


def test_labels_say_what_is_an_input_and_what_a_parameter() -> None:
    subject = adapt_layer(layers.Affine(array(3, 5), array(5)), (array(4, 3),), {})
    assert subject is not None
    assert subject.labels == ("input 0 'x'", "parameter 'W'", "parameter 'b'")


def test_one_gradient_too_many_is_counted() -> None:
    report = gl.check(layers.GenerousMul(), array(3), array(3, seed=1), probes=())
    assert [finding.cause for finding in report.findings] == ["gradient-count"]


def test_write_to_the_upstream_is_seen_through_the_array() -> None:
    report = gl.check(layers.RecklessRelu(), array(4, 3), probes=())
    assert "mutates-grad-output" in {finding.cause for finding in report.findings}


def test_layer_is_as_before_after_a_check() -> None:
    layer = images.BatchNormalization(array(3), array(3, seed=1))
    before = copy.deepcopy(vars(layer))
    gl.check(layer, array(5, 3), probes=())
    assert layer.running_mean is None
    assert layer.dgamma is None
    assert vars(layer).keys() == before.keys()
    np.testing.assert_array_equal(layer.gamma, before["gamma"])


def test_layer_used_before_is_checked_on_clean_gradients() -> None:
    layer = torch_layers.Accumulating(tensor(3))
    layer.backward(torch.ones_like(layer.forward(tensor(4, 3))))
    assert gl.check(layer, tensor(4, 3), probes=()).verdict == "pass"
    affine = layers.Affine(array(3, 5), array(5))
    affine.backward(affine.forward(array(4, 3)))
    assert [g.name for g in gl.check(affine, array(4, 3), probes=()).gradients] == ["x", "W", "b"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_forward_takes_arrays_of_the_dtype_given(dtype: Any) -> None:
    seen = []

    class Looking(layers.Sigmoid):
        def forward(self, x: Any) -> Any:
            seen.append((type(x), x.dtype))
            return super().forward(x)

    subject = adapt_layer(Looking(), (array(4, 3).astype(dtype),), {})
    assert subject is not None
    subject.record(subject.inputs, {})
    assert seen == [(np.ndarray, np.dtype(dtype))]


def test_upstream_is_ones_where_the_backward_takes_none() -> None:
    subject = adapt_layer(losses.SquaredError(), (array(4, 3), array(4, 3)), {})
    assert subject is not None
    recording = subject.record(subject.inputs, {})
    assert recording.fixed_grad_outputs is not None
    assert [float(grad) for grad in recording.fixed_grad_outputs] == [1.0]


def test_target_of_a_loss_is_a_constant() -> None:
    inputs = (array(4, 3), one_hot(0, 2, 1, 2))
    subject = adapt_layer(losses.SoftmaxWithLoss(), inputs, {})
    assert subject is not None
    assert subject.constants == {1}
    both = adapt_layer(losses.Distance(), (array(4, 3), array(4, 3)), {})
    assert both is not None
    assert both.constants == frozenset()


@pytest.mark.parametrize("name", ["steered", "dropout"])
def test_what_cannot_be_traced_says_so(name: str) -> None:
    layer, *inputs = CALLS[name][0]()
    subject = adapt_layer(layer, tuple(inputs), {})
    assert subject is not None
    assert subject.trace is not None
    leaves = tuple(value.requires_grad_() for value in subject.inputs)
    with pytest.raises(Untraceable, match=r"Data-dependent|gives other values than in NumPy"):
        subject.trace(leaves, {}, frozenset())


def test_more_layers_than_dynamo_recompiles_are_all_traced() -> None:
    for rows in range(2, 14):
        subject = adapt_layer(layers.Sigmoid(), (array(rows, 3),), {})
        assert subject is not None
        assert subject.trace is not None
        x = subject.inputs[0].requires_grad_()
        assert subject.trace((x,), {}, frozenset()).outputs[0].requires_grad


def test_layer_names_what_the_usual_names_do_not() -> None:
    layer = gl.Layer(layers.TwoNames(array(3)), grads={"weight": "sensitivity"}, name="scale")
    assert gl.check(layer, array(4, 3), probes=()).verdict == "pass"
    wrong = gl.Layer(layers.TwoNames(array(3)), grads={"weight": "dweight"})
    assert gl.check(wrong, array(4, 3), probes=()).verdict == "fail"
    only = gl.Layer(layers.Affine(array(3, 5), array(5)), parameters=["b"])
    assert [g.name for g in gl.check(only, array(4, 3), probes=()).gradients] == ["x", "b"]
    given = gl.Layer(layers.Dense(array(3, 5)), backward={"learning_rate": 0.1})
    assert [g.name for g in gl.check(given, array(4, 3), probes=()).gradients] == ["x", "weights"]
    assert repr(layer) == "<layer scale>"


@pytest.mark.parametrize("text", ["W", "params[0]", "layers[1].grads['W']", "a.b.c_", "cache['d W'][2].g"])
def test_place_reads_as_it_is_written(text: str) -> None:
    assert str(read_path(text)) == text


@pytest.mark.parametrize("text", ["", "W dW", "[0]W", "W[", "W[x]", "1W"])
def test_place_refuses_what_is_none(text: str) -> None:
    assert read_path(text) is None


class Decayed(layers.Dense):
    def backward(self, output_gradient: Any, decay: float) -> Any:
        return super().backward(output_gradient, decay)


class Sloped:
    def __init__(self) -> None:
        self.params, self.grads = [array(3), array(3)], [array(3)]

    def forward(self, x: Any) -> Any:
        return x * self.params[0] + self.params[1]

    def backward(self, dout: Any) -> Any:
        return dout * self.params[0]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "class-with-arguments": (
        lambda: gl.check(layers.Affine, array(4, 3)),
        "Affine is a class, and constructing it takes W, b; pass an object: gl.check(Affine(W, b), x)",
    ),
    "gradient-not-told": (
        lambda: gl.check(layers.Scale(array(3)), array(4, 3)),
        "cannot tell where Scale keeps the gradient of 'weight'; the nearest readings are\n"
        "  1. output = layer.forward(x), then layer.backward(grad_output): gradient of x is returned, of weight in "
        f"layer.sensitivity\n{PASTE}\n"
        "gl.check(gl.Layer(layer, forward='forward', backward='backward', parameters={'weight': 'sensitivity'}), x)",
    ),
    "two-gradients": (
        lambda: gl.check(layers.TwoNames(array(3)), array(4, 3)),
        "TwoNames keeps 'dweight' and 'grad_weight' for 'weight'; the nearest readings are\n"
        "  1. output = layer.forward(x), then layer.backward(grad_output): gradient of x is returned, of weight in "
        f"layer.sensitivity\n{PASTE}\n"
        "gl.check(gl.Layer(layer, forward='forward', backward='backward', parameters={'weight': 'sensitivity'}), x)",
    ),
    "lists-of-other-lengths": (
        lambda: gl.check(Sloped(), array(4, 3)),
        "Sloped holds 2 arrays in 'params' and 1 gradients in 'grads'; name them with "
        "gl.Layer(obj, grads={'params[0]': 'grads[0]', ...})",
    ),
    "further-argument": (
        lambda: gl.check(Decayed(array(3, 5)), array(4, 3)),
        "backward of Decayed needs output_gradient and decay and its forward has 1 output; the nearest readings are\n"
        "  1. output = layer.forward(x), then layer.backward(grad_output, 0.0): gradient of x is returned, of weights in "
        "layer.weights_gradient\n"
        "  2. output = layer.forward(x), then layer.backward(grad_output, 1.0): gradient of x is returned, of weights in "
        f"layer.weights_gradient\n{PASTE}\n"
        "def backward(layer, grad_output):\n"
        "    entry_0 = layer.backward(grad_output, 0.0)\n"
        "    return entry_0\n"
        "gl.check(gl.Layer(layer, forward='forward', backward=backward, parameters={'weights': 'weights_gradient'}), x)",
    ),
    "option": (
        lambda: gl.check(layers.Relu(), array(4, 3), options={"slope": 0.1}),
        "Relu has no option 'slope'; it accepts none",
    ),
    "list-of-numbers": (
        lambda: gl.check(layers.Relu(), [1.0, -2.0]),
        "input 0 'x' of Relu is a list of numbers; pass one array: np.array(...)",
    ),
    "long-double": (
        lambda: gl.check(layers.Relu(), np.ones(3, dtype=np.longdouble)),
        "input 0 'x' of Relu has dtype float128, which torch has not; pass it as float64",
    ),
    "named-nothing": (
        lambda: gl.check(gl.Layer(layers.Scale(array(3)), grads={"V": "dV"}), array(4, 3)),
        "Scale has no 'V'; it holds weight",
    ),
    "named-no-array": (
        lambda: gl.check(gl.Layer(layers.Dropout(), grads={"forward": "dW"}), array(4, 3)),
        "Dropout holds a method in 'forward'; it holds no floating array",
    ),
    "no-path": (
        lambda: gl.check(gl.Layer(layers.Scale(array(3)), grads={"weight": "d weight"}), array(4, 3)),
        "'d weight' names nothing on Scale; write it as 'W', \"grads['W']\", 'grads[0]' or 'W.grad_'",
    ),
    "parameter-not-told": (
        lambda: gl.check(gl.Layer(layers.Scale(array(3)), parameters=["weight"]), array(4, 3)),
        "cannot tell where Scale keeps the gradient of 'weight'; name it with gl.Layer(obj, grads={'weight': 'dweight'})",
    ),
    "backward-argument": (
        lambda: gl.check(gl.Layer(layers.Relu(), backward={"rate": 0.1}), array(4, 3)),
        "backward of Relu has no argument 'rate'; it has dout",
    ),
    "no-methods": (
        lambda: gl.Layer(object()),
        "object has no forward and no backward; gl.Layer takes an object with the methods forward and backward",
    ),
    "grads-no-dict": (
        lambda: gl.Layer(layers.Scale(array(3)), grads=["weight"]),  # type: ignore[arg-type]
        "grads is a list; pass a dict: gl.Layer(obj, grads={'W': 'dW'})",
    ),
    "parameters-string": (
        lambda: gl.Layer(layers.Scale(array(3)), parameters="weight"),
        "parameters is a string; pass a list: parameters=['weight']",
    ),
    "cannot-be-copied": (
        lambda: gl.check(Stuck(), array(4, 3)),
        "Stuck cannot be copied with copy.deepcopy (TypeError: cannot pickle 'generator' object); "
        "give its class a __deepcopy__, or leave out what cannot be copied",
    ),
}


class Stuck(layers.Relu):
    def __init__(self) -> None:
        super().__init__()
        self.source = (i for i in itertools.count())


@pytest.mark.parametrize("name", REFUSED)
def test_bad_call_names_the_fix(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(gl.InvalidArgument) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [torch.nn.Linear(3, 2), torch.autograd.Function, lambda x: x, torch.ones(2)])
def test_other_objects_are_declined(value: Any) -> None:
    assert adapt_layer(value, (tensor(4, 3),), {}) is None


FOUND: dict[str, tuple[Make, tuple[str, ...]]] = {
    "objects-and-numbers": (lambda: (naming_styles.Parameterised, array(4, 3)), ("W.data", "shift")),
    "grad-in-a-loop": (lambda: (naming_styles.Looped, tensor(4, 3)), ("params[0]", "params[1]")),
    "module-in-a-module": (lambda: (naming_styles.Outer, tensor(4, 3)), ("inner.weight", "inner.bias")),
    "initials": (lambda: (naming_styles.Shortened, array(4, 3)), ("weights", "bias")),
}


@pytest.mark.parametrize("name", FOUND)
def test_parameters_are_found_by_the_names_that_people_give(name: str) -> None:
    make, expected = FOUND[name]
    report = gl.check(*make(), probes=())
    assert report.verdict == "pass", report
    assert {gradient.name for gradient in report.gradients} == {"x", *expected}


class Chain:
    """Two layers that share one array; `keeps` says where else the gradients are: nowhere, in lists, summed at the top."""

    def __init__(self, keeps: str, forgets: bool) -> None:
        shared = array(3, 3)
        self.layers = [layers.Affine(shared, array(3)), layers.Affine(shared, array(3, seed=1))]
        self.keeps, self.forgets = keeps, forgets
        if keeps == "lists":
            self.params, self.grads = [layer.W for layer in self.layers], [np.zeros_like(shared) for _ in self.layers]
        if keeps == "top":
            self.W, self.dW = shared, np.zeros_like(shared)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout: Any) -> Any:
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        if self.forgets:
            self.layers[1].dW = np.zeros_like(self.layers[1].dW)
        if self.keeps == "lists":
            self.grads = [layer.dW.copy() for layer in self.layers]
        if self.keeps == "top":
            self.dW = self.layers[0].dW + self.layers[1].dW
        return dout


@pytest.mark.parametrize("keeps", ["nowhere", "lists", "top"])
@pytest.mark.parametrize("forgets", [False, True])
def test_gradient_of_an_array_in_two_layers_is_their_sum(keeps: str, forgets: bool) -> None:
    report = gl.check(Chain(keeps, forgets), array(4, 3), probes=())
    assert {gradient.name for gradient in report.gradients if gradient.verdict == "fail"} == (
        {report.gradients[1].name} if forgets else set()
    )
    assert report.verdict == ("fail" if forgets else "pass")
    assert len(report.gradients) == 4


@pytest.mark.parametrize("prefix", ["", "d"])
@pytest.mark.parametrize("filled", [{}, {"W": None, "b": None, "dW": None, "db": None}], ids=["empty", "named"])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_gradients_in_a_dictionary_that_the_backward_fills(prefix: str, filled: dict[str, Any], factor: float) -> None:
    class Kept:
        def __init__(self) -> None:
            self.W, self.b, self.grads = array(3, 2), array(2), dict(filled)

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout: Any) -> Any:
            self.grads[f"{prefix}W"], self.grads[f"{prefix}b"] = factor * self.x.T @ dout, dout.sum(0)
            return dout @ self.W.T

    report = gl.check(Kept(), array(4, 3), probes=())
    assert [gradient.name for gradient in report.gradients] == ["x", "W", "b"]
    assert {gradient.name for gradient in report.gradients if gradient.verdict == "fail"} == ({"W"} if factor != 1 else set())


class Looped(layers.Affine):
    """Adds up what `zero_grad` resets in a loop over the names of attributes."""

    factor = 1.0

    def zero_grad(self) -> None:
        for name in ("dW", "db"):
            getattr(self, name)[...] = 0

    def backward(self, dout: Any) -> Any:
        self.dW = (0 if self.dW is None else self.dW) + self.x.T @ dout * self.factor
        self.db = (0 if self.db is None else self.db) + dout.sum(axis=0)
        return dout @ self.W.T


class WrongLooped(Looped):
    factor = 2.0


def test_a_reset_that_names_attributes_in_strings_is_found() -> None:
    report = gl.check(Looped(array(3, 5), array(5)), array(4, 3))
    assert report.verdict == "pass", str(report)
    assert gl.check(WrongLooped(array(3, 5), array(5)), array(4, 3), probes=()).verdict == "fail"


def test_functions_of_the_object_may_stand_for_its_methods() -> None:
    layer = layers.Affine(array(3, 5), array(5))
    given = gl.Layer(layer, forward=lambda net, x: net.forward(x) * 2, backward=lambda net, g: net.backward(2 * g))
    assert gl.check(given, array(4, 3), probes=()).verdict == "pass"
    wrong = gl.Layer(layer, forward=lambda net, x: net.forward(x) * 2, backward=lambda net, g: net.backward(g))
    report = gl.check(wrong, array(4, 3), probes=())
    assert [f.cause for f in report.findings if f.severity == "error"] == ["constant-factor"] * 3
