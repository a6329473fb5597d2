"""The reference networks: their numbers, every op of theirs planted wrong in turn, and their training in lockstep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import Variable, ops
from gradcheck_lab.engine.variable import record
from gradcheck_lab.networks import numpy_classifier as numpy_style
from gradcheck_lab.networks.arithmetic import arithmetic, gradients_by_name
from gradcheck_lab.networks.batch_norm_mlp import batch_norm_mlp
from gradcheck_lab.networks.lockstep import autograd_gradients, hand_written_gradients, relative_difference, train
from gradcheck_lab.networks.lstm import lstm_call, unrolled_lstm
from gradcheck_lab.networks.mnist import load_images, split
from gradcheck_lab.networks.reference import NETWORKS, Network
from gradcheck_lab.networks.shopping import price_of_apples, price_of_fruit
from gradcheck_lab.networks.transformer import HEADS, transformer_block, transformer_call
from gradcheck_lab.networks.two_layer import relu_net, sigmoid_net, table_lines, three_ways
from gradcheck_lab.rules.op import Op
from tests import lanes

every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.title)
TRAINED = [network for network in NETWORKS if network.epochs]


@pytest.mark.parametrize(
    ("program", "numbers", "total", "grads"),
    [
        (price_of_apples, (100, 2, 1.1), 220, (2.2, 110, 200)),
        (price_of_fruit, (100, 2, 150, 3, 1.1), 715, (2.2, 110, 3.3, 165, 650)),
    ],
    ids=["apples", "apples-and-oranges"],
)
def test_the_basket_costs_what_the_book_says(
    program: Callable[..., Any], numbers: tuple[float, ...], total: float, grads: tuple[float, ...]
) -> None:
    variables = [Variable(float(number)) for number in numbers]
    output = program(*variables)
    output.backward()
    assert output.item() == pytest.approx(total, rel=1e-15)
    assert [float(variable.grad) for variable in variables if variable.grad is not None] == pytest.approx(grads, rel=1e-15)


def nodes_of(network: Network) -> list[Any]:
    inputs = network.inputs(0)
    with record() as tape:
        network.program(*(Variable(v) if v.is_floating_point() else v for v in inputs))
    return tape


@every_network
def test_network_passes_with_every_intermediate_named(network: Network) -> None:
    tape = nodes_of(network)
    assert all(node.names for node in tape)
    report = gl.check(network.program, *network.inputs(0), probes=())
    assert report.verdict == "pass", report
    inside = [gradient for gradient in report.gradients if gradient.label.startswith("intermediate")]
    assert len(inside) == sum(len(node.outputs) for node in tape) - 1


@cache
def planted() -> dict[str, list[Op]]:
    """Every op in one network that has it, the networks that have the fewest first; and every network with one op at least."""
    found = {}
    used = {network.title: list(dict.fromkeys(node.op for node in nodes_of(network))) for network in NETWORKS}
    seen: set[Op] = set()
    for network in sorted(NETWORKS, key=lambda network: len(used[network.title])):
        fresh = [op for op in used[network.title] if op not in seen] or used[network.title][:1]
        seen.update(fresh)
        found[network.title] = fresh
    return found


@pytest.mark.drawn
@every_network
def test_a_mistake_in_any_op_of_a_network_is_caught_there(network: Network) -> None:
    for op in planted()[network.title][: lanes.times(3, sys.maxsize)]:
        with pytest.MonkeyPatch.context() as patch:
            assert_doubled_op_is_caught(network, op, patch)


def assert_doubled_op_is_caught(network: Network, op: Op, patch: pytest.MonkeyPatch) -> None:
    rule = op.rule

    def doubled(*arguments: Any, **options: Any) -> tuple[Any, ...]:
        assert rule is not None
        return tuple(None if grad is None else 2 * grad for grad in rule(*arguments, **options))

    patch.setattr(op, "rule", doubled)
    report = gl.check(network.program, *network.inputs(0), probes=())
    assert report.verdict == "fail", f"a doubled {op.name} of the {network.title} passes"
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert {str(finding.op).split(" ")[0] for finding in errors} == {op.name}, report


@pytest.mark.parametrize("network", TRAINED, ids=lambda network: network.title)
def test_network_trains_alike_on_both_sides(network: Network) -> None:
    x, target, *start = network.inputs(1)
    run = train(network.program, x, target, tuple(start), epochs=3, rate=network.rate, batch=len(x), seed=0)
    assert max(run.differences.values()) < 1e-11
    assert run.hand_written_losses[-1] < run.hand_written_losses[0]
    assert len(run.differences) >= len(start)


def test_karpathys_intermediates_are_compared_by_his_names() -> None:
    network = next(network for network in NETWORKS if network.program is batch_norm_mlp)
    report = gl.check(network.program, *network.inputs(0), probes=())
    his = """logprobs probs counts counts_sum counts_sum_inv norm_logits logit_maxes logits h hpreact bnraw bnvar_inv bnvar
    bndiff2 bndiff bnmeani hprebn embcat emb W2 b2 gain bias W1 C""".split()
    assert set(his) < {gradient.name for gradient in report.gradients}
    assert sum(gradient.label.startswith("intermediate") for gradient in report.gradients) >= 24


def test_define_by_run_arithmetic_has_every_gradient_by_name() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y, w = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 6), (2, 6), (3, 2)))
    grads = gradients_by_name(arithmetic, x=x, y=y, w=w)
    named = "x y w total tall product first second joined turned square difference squares result".split()
    assert list(grads) == named
    leaves = [value.clone().requires_grad_() for value in (x, y, w)]
    tall = (leaves[0] + leaves[1]).reshape(4, 3)
    first, second = (tall @ leaves[2]).split(2)
    joined = first + second
    ((second.T @ joined - joined) ** 2).sum().backward()
    for name, leaf in zip("xyw", leaves, strict=True):
        torch.testing.assert_close(grads[name], leaf.grad)
    torch.testing.assert_close(grads["product"][:2], grads["first"])  # both of the parts' gradients arrive
    torch.testing.assert_close(grads["product"][2:], grads["second"])


def test_the_lstm_is_torchs() -> None:
    x, target, W_x, W_h, bias, W_out, b_out = lstm_call(0)
    torch_lstm = torch.nn.LSTM(W_x.shape[1], W_h.shape[1], batch_first=True, dtype=torch.float64)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    torch_lstm.load_state_dict(dict(zip(names, (W_x, W_h, bias, torch.zeros_like(bias)), strict=True)))
    shown = torch_lstm(x)[0][:, -1]
    expected = torch.nn.functional.cross_entropy(shown @ W_out.T + b_out, target)
    torch.testing.assert_close(unrolled_lstm(x, target, W_x, W_h, bias, W_out, b_out), expected.detach())


def test_the_attention_of_the_transformer_is_torchs() -> None:
    x, target, W_in, norm_1, W_query, W_key, W_value, W_attended, norm_2, W_gate, W_up, W_down, W_out = transformer_call(0)
    functional, width = torch.nn.functional, W_in.shape[0]
    embedded = x @ W_in.T
    normal = functional.rms_norm(embedded, (width,), norm_1, 1e-6)
    heads = [(normal @ W.T).reshape(len(x), -1, HEADS, width // HEADS).transpose(1, 2) for W in (W_query, W_key, W_value)]
    mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(embedded.shape)
    residual = embedded + mixed @ W_attended.T
    normal = functional.rms_norm(residual, (width,), norm_2, 1e-6)
    residual = residual + (functional.silu(normal @ W_gate.T) * (normal @ W_up.T)) @ W_down.T
    expected = functional.cross_entropy(residual.mean(1) @ W_out.T, target)
    torch.testing.assert_close(transformer_block(*transformer_call(0)), expected)


def small_net() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((5, 4), (3, 4), (3,), (2, 3), (2,))
    x, *parameters = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return x, torch.tensor([0, 1, 1, 0, 1]), *parameters


@pytest.mark.parametrize("network", [sigmoid_net, relu_net], ids=lambda network: network.__name__)
def test_three_ways_agree(network: Callable[..., Any]) -> None:
    x, target, *parameters = small_net()
    rows = three_ways(network, x, target, tuple(parameters))
    assert [row.name for row in rows] == ["W1", "b1", "W2", "b2"]
    for row in rows:
        assert row.from_autograd < 1e-14
        assert 0 < row.from_central < 1e-8
        assert row.hand_written == pytest.approx(row.central, rel=1e-8)
    lines = table_lines(rows)
    assert len(lines) == 6
    assert lines[1].split() == ["parameter", "by", "hand", "autograd", "differences", "autograd", "differences"]


def test_three_ways_part_at_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ops.sigmoid.rule
    monkeypatch.setattr(ops.sigmoid, "rule", lambda *arguments: (1.01 * rule(*arguments)[0],))  # type: ignore[misc]
    x, target, *parameters = small_net()
    rows = {row.name: row for row in three_ways(sigmoid_net, x, target, tuple(parameters))}
    assert rows["W1"].from_autograd == pytest.approx(0.01)
    assert rows["b1"].from_central == pytest.approx(0.01, rel=1e-6)
    assert rows["W2"].from_autograd < 1e-14


def openml(count: int = 60, width: int = 784) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)
    digits = torch.randint(0, 10, (count,), generator=generator)
    pixels = torch.randint(0, 256, (count, width), generator=generator)
    return SimpleNamespace(data=pixels.numpy(), target=[str(int(digit)) for digit in digits])


def test_mnist_is_split_as_its_authors_did_and_scaled() -> None:
    asked: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> SimpleNamespace:
        asked.update(options, name=name)
        return openml(10_030)

    images = load_images(fetch)
    assert (asked["name"], asked["version"], asked["as_frame"]) == ("mnist_784", 1, False)
    assert images.train_pixels.shape == (30, 784)
    assert images.test_pixels.shape == (10_000, 784)
    found = openml(10_030)
    torch.testing.assert_close(images.train_pixels, torch.from_numpy(found.data[:30]).double() / 255)
    assert images.train_digits.tolist() == [int(digit) for digit in found.target[:30]]
    assert images.test_digits.tolist() == [int(digit) for digit in found.target[30:]]
    assert images.source == "MNIST, 30 training and 10000 test images"
    assert images.first(20).source == "MNIST, 20 training and 10000 test images"
    assert images.first(20).train_pixels.shape == (20, 784)


@pytest.mark.parametrize(
    ("error", "words"),
    [(URLError("no route to host"), "URLError: no route to host"), (TimeoutError("timed out"), "TimeoutError: timed out")],
    ids=["no-network", "timeout"],
)
def test_without_a_network_the_digits_stand_in_and_say_so(error: OSError, words: str) -> None:
    def fetch(name: str, **options: Any) -> SimpleNamespace:
        raise error

    images = load_images(fetch)
    assert images.source == (
        f"MNIST could not be fetched ({words}): the digits of scikit-learn in its place, 1437 training and 360 test images"
    )
    assert images.train_pixels.shape == (1437, 64)
    assert float(images.test_pixels.amax()) == 1.0


def test_damaged_data_are_refused() -> None:
    with pytest.raises(gl.InvalidArgument) as caught:
        split([[0, 255]], ["7", "1"], test=1)
    assert str(caught.value) == (
        "mnist_784 has pixels of shape (1, 2) and 2 digits, 1 of them for the test; "
        "clear scikit-learn's data folder and fetch it again"
    )


def test_numpy_classifier_is_torchs_cross_entropy_and_learns_data_of_mnists_format() -> None:
    found = openml(60)
    images = split(found.data, found.target, test=20)
    x, label = numpy_style.with_ones(images.train_pixels), numpy_style.one_hot(images.train_digits)
    start = numpy_style.initial_weights(784, seed=0)
    scores = torch.relu(x @ start[0]) @ start[1]
    expected = torch.nn.functional.cross_entropy(scores, images.train_digits)
    torch.testing.assert_close(numpy_style.numpy_classifier(x, label, *start), expected)
    run = train(numpy_style.numpy_classifier, x, label, start, epochs=5, rate=0.1, batch=len(x), seed=0)
    assert run.hand_written_losses[-1] < 0.9 * run.hand_written_losses[0]
    assert max(run.differences.values()) < 1e-11
    loss, accuracy = numpy_style.scores_on_test(images, *run.hand_written)
    assert loss > 0
    assert 0 <= accuracy <= 1


def test_lockstep_follows_ops_of_several_outputs() -> None:
    def halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:2], x[2:]

    def joined(grads: Any, outputs: Any, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.cat(grads),)

    cut = Op(halves, joined, name="cut")

    def network(x: Any, target: Any, w: Any) -> Any:
        first, second = cut(w)
        product = ops.mul(first, second)
        return ops.sum(product)

    w = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    ours, theirs = (side(network, w, w, (w,)) for side in (hand_written_gradients, autograd_gradients))
    assert ours.names == ("first", "second", "product")
    assert [grad.tolist() for grad in ours.intermediates] == [[3.0, 4.0], [1.0, 2.0], [1.0, 1.0]]
    assert [grad.tolist() for grad in theirs.intermediates] == [[3.0, 4.0], [1.0, 2.0], [1.0, 1.0]]
    assert ours.parameters[0].tolist() == theirs.parameters[0].tolist() == [3.0, 4.0, 1.0, 2.0]


def test_a_gradient_that_cancels_is_measured_against_the_others() -> None:
    rounding, zero = torch.tensor([1e-17]), torch.tensor([0.0])
    assert relative_difference(rounding, zero) == float("inf")
    assert relative_difference(rounding, zero, least=1e-6) == pytest.approx(1e-11)
    assert relative_difference(torch.tensor([2e-5]), torch.tensor([1e-5]), least=1e-6) == pytest.approx(1)
