"""The reference networks, their data, their training in lockstep and the mistakes planted into them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn import functional

from gradcheck_lab import GradientMismatch, InvalidArgument, Report, assert_gradients, check, ops
from gradcheck_lab.networks import PARAMETERS, data, digits_classifier, digits_regressor, digits_scores, initial_parameters
from gradcheck_lab.networks.data import load, standardise
from gradcheck_lab.networks.lockstep import (
    Parameters,
    Program,
    autograd_gradients,
    hand_written_gradients,
    relative_difference,
    train,
)
from gradcheck_lab.networks.mistakes import MISTAKES, Mistake, classifier_without_mean, is_caught

ROWS = 7


def drawn(*sizes: int, seed: int = 0) -> Parameters:
    return initial_parameters(*sizes, generator=torch.Generator().manual_seed(seed))


def images(rows: int = ROWS, pixels: int = 6) -> torch.Tensor:
    return torch.randn(rows, pixels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def classes(rows: int = ROWS, count: int = 3) -> torch.Tensor:
    return torch.arange(rows) % count


def values(rows: int = ROWS) -> torch.Tensor:
    return classes(rows).double().unsqueeze(1)


CALLS = {
    "classifier": (digits_classifier, images(), classes(), *drawn(6, 5, 3)),
    "regressor": (digits_regressor, images(), values(), *drawn(6, 5, 1)),
}


def test_classifier_is_torchs_cross_entropy_of_two_layers() -> None:
    _, x, target, W1, b1, W2, b2 = CALLS["classifier"]
    scores = functional.linear(functional.relu(functional.linear(x, W1, b1)), W2, b2)
    torch.testing.assert_close(digits_classifier(x, target, W1, b1, W2, b2), functional.cross_entropy(scores, target))
    torch.testing.assert_close(digits_scores(x, W1, b1, W2, b2), scores)


def test_regressor_is_torchs_squared_error_of_two_layers() -> None:
    _, x, target, *parameters = CALLS["regressor"]
    expected = functional.mse_loss(digits_scores(x, *parameters), target)
    torch.testing.assert_close(digits_regressor(x, target, *parameters), expected)


@pytest.mark.parametrize(("name", "inputs"), [("classifier", ["x", *PARAMETERS]), ("regressor", ["x", "target", *PARAMETERS])])
def test_network_passes_with_every_intermediate_and_parameter_compared(name: str, inputs: list[str]) -> None:
    network, *arguments = CALLS[name]
    report = assert_gradients(network, *arguments)
    assert [gradient.name for gradient in report.gradients] == ["Z2", "A1", "Z1", *inputs]


def test_initial_parameters_are_in_torch_layout_and_spread_by_he() -> None:
    W1, b1, W2, b2 = drawn(400, 300, 2)
    assert [tuple(value.shape) for value in (W1, b1, W2, b2)] == [(300, 400), (300,), (2, 300), (2,)]
    assert float(W1.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not b1.any()
    assert not b2.any()


def test_initial_parameters_follow_their_generator_and_leave_the_global_one() -> None:
    before = torch.get_rng_state()
    again, first, other = drawn(6, 5, 3), drawn(6, 5, 3), drawn(6, 5, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_initial_parameters_have_the_dtype_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = initial_parameters(4, 2, generator=generator, dtype=torch.float32)
    assert {value.dtype for value in parameters} == {torch.float32}


def test_one_size_makes_no_network() -> None:
    with pytest.raises(InvalidArgument) as caught:
        drawn(64)
    assert str(caught.value) == ("a network needs at least two sizes and got (64,); pass its widths, such as 64, 32, 10")


def test_digits_are_split_and_standardised_by_the_training_images() -> None:
    digits = load(0)
    assert digits.train_x.shape == (1437, 64)
    assert digits.validation_x.shape == (360, 64)
    assert digits.train_digits.shape == (1437,)
    assert digits.validation_digits.shape == (360,)
    assert torch.isfinite(digits.train_x).all()
    assert torch.isfinite(digits.validation_x).all()
    torch.testing.assert_close(digits.train_x.mean(0), torch.zeros(64).double(), atol=1e-12, rtol=0)
    varying = digits.train_x.amax(0) > digits.train_x.amin(0)
    assert not varying.all()
    torch.testing.assert_close(digits.train_x.std(0, correction=0), varying.double())


def test_digits_are_shuffled_by_their_seed() -> None:
    assert torch.equal(load(0).train_digits, load(0).train_digits)
    assert not torch.equal(load(0).train_digits, load(1).train_digits)


def test_a_constant_pixel_is_only_centred() -> None:
    # 0.1 three times has a deviation of 1e-17 about its mean
    train, validation = standardise(torch.full((3, 1), 0.1).double(), torch.tensor([[0.6]]).double())
    torch.testing.assert_close(train, torch.zeros(3, 1).double(), atol=1e-15, rtol=0)
    torch.testing.assert_close(validation, torch.tensor([[0.5]]).double())


def test_digits_without_scikit_learn_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data._read.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InvalidArgument) as caught:
        load(0)
    assert str(caught.value) == ("the digits data need scikit-learn, which is not installed; pip install 'gradcheck_lab[demo]'")


@pytest.mark.parametrize("name", CALLS)
def test_both_sides_give_the_same_gradients_of_every_intermediate_and_parameter(name: str) -> None:
    network, x, target, *parameters = CALLS[name]
    ours = hand_written_gradients(network, x, target, tuple(parameters))
    theirs = autograd_gradients(network, x, target, tuple(parameters))
    assert ours.names == ("Z1", "A1", "Z2")
    assert ours.loss == pytest.approx(theirs.loss)
    assert [tuple(value.shape) for value in ours.parameters] == [tuple(value.shape) for value in parameters]
    for mine, reference in zip(
        (*ours.intermediates, *ours.parameters), (*theirs.intermediates, *theirs.parameters), strict=True
    ):
        assert float(reference.abs().amax()) > 0
        assert relative_difference(mine, reference) < 1e-13


def trained(network: Program, epochs: int = 3, seed: int = 0) -> tuple[list[float], list[float], dict[str, float]]:
    run = train(network, images(20), classes(20), drawn(6, 5, 3), epochs=epochs, rate=0.1, batch=8, seed=seed)
    return run.hand_written_losses, run.autograd_losses, run.differences


def test_training_lowers_the_loss_of_both_sides_alike() -> None:
    ours, theirs, differences = trained(digits_classifier, epochs=20)
    assert len(ours) == len(theirs) == 20 * 3
    assert sum(ours[-3:]) < 0.9 * sum(ours[:3])
    assert ours == pytest.approx(theirs)
    assert sorted(differences) == sorted(["Z1", "A1", "Z2", *PARAMETERS])
    assert max(differences.values()) < 1e-12


def test_training_shows_a_wrong_rule_as_a_difference() -> None:
    _, _, differences = trained(classifier_without_mean)
    assert differences["Z2"] == pytest.approx(7, abs=1)


def test_training_repeats_with_its_seed_and_reports_every_step() -> None:
    assert trained(digits_classifier) == trained(digits_classifier)
    assert trained(digits_classifier)[0] != trained(digits_classifier, seed=1)[0]
    steps: list[None] = []
    start = drawn(6, 5, 3)
    copies = [value.clone() for value in start]
    train(
        digits_classifier,
        images(),
        classes(),
        start,
        epochs=2,
        rate=0.1,
        batch=3,
        seed=0,
        on_step=lambda: steps.append(None),
    )
    assert len(steps) == 2 * 3
    for value, copy in zip(start, copies, strict=True):
        assert torch.equal(value, copy)
        assert value.grad is None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [([0.0], [0.0], 0.0), ([1.0], [0.0], float("inf")), ([3.0, 4.0], [2.0, 4.0], 0.25)],
    ids=["both-zero", "zero-reference", "largest"],
)
def test_relative_difference(ours: list[float], theirs: list[float], expected: float) -> None:
    assert relative_difference(torch.tensor(ours), torch.tensor(theirs)) == expected


def test_a_difference_that_is_not_a_number_is_the_largest() -> None:
    factors = iter([1.0, 1.0, float("nan"), float("nan")])

    def spoiled(x: object, target: object, *parameters: object) -> object:
        loss = digits_classifier(x, target, *parameters)
        return ops.mul(loss, torch.tensor(next(factors)).double())

    run = train(spoiled, images(), classes(), drawn(6, 5, 3), epochs=2, rate=0.1, batch=ROWS, seed=0)
    assert math.isnan(run.differences["parameters[0]"])


def call_of(mistake: Mistake) -> tuple[torch.Tensor, ...]:
    if mistake.task == "classification":
        return images(), classes(), *drawn(6, 5, 3)
    return images(), classes().double(), *drawn(6, 5, 1)


@cache
def report_of(mistake: Mistake) -> Report:
    return check(mistake.network, *call_of(mistake))


@cache
def report_of_the_sound_classifier() -> Report:
    network, *arguments = CALLS["classifier"]
    return check(network, *arguments)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_mistake_is_caught_in_its_op_and_nowhere_else(mistake: Mistake) -> None:
    report = report_of(mistake)
    assert is_caught(mistake, report)
    blamed = {finding.op for finding in report.findings if finding.severity == "error"}
    assert blamed == {mistake.op}
    with pytest.raises(GradientMismatch):
        report.raise_if_failed()


@pytest.mark.parametrize(
    ("title", "cause", "explanation"),
    [("forgotten 1/N", "constant-factor", "7"), ("wrong bias reduction", "constant-factor", "1/7")],
)
def test_mistake_is_explained_by_the_batch_size(title: str, cause: str, explanation: str) -> None:
    mistake = next(mistake for mistake in MISTAKES if mistake.title == title)
    finding = report_of(mistake).findings[0]
    assert finding.cause == cause
    assert explanation in finding.explanation
    assert "batch size" in finding.explanation


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_only_a_failing_report_that_blames_the_right_gradient_counts_as_caught(mistake: Mistake) -> None:
    report = report_of(mistake)
    first, *rest = report.findings
    assert not is_caught(mistake, replace(report, verdict="inconclusive"))
    assert not is_caught(mistake, replace(report, findings=()))
    assert not is_caught(mistake, replace(report, findings=(replace(first, op="linear (Z2)"), *rest)))
    assert not is_caught(mistake, replace(report, findings=(replace(first, gradient="weight"), *rest)))
    assert not is_caught(mistake, replace(report, findings=(replace(first, cause="sign"), *rest)))
    assert not is_caught(mistake, report_of_the_sound_classifier())


def test_the_digits_are_read_once_and_each_caller_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data._read.cache_clear()
    reads = []
    read = datasets.load_digits
    monkeypatch.setattr(datasets, "load_digits", lambda **options: reads.append(options) or read(**options))
    first, second = data.load_raw(), data.load_raw()
    assert len(reads) == 1
    first[0].zero_()
    assert bool(second[0].any())
    assert bool(data.load_raw()[0].any())
