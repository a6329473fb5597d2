"""Large calls are compared in pieces: what they take of memory, and that no mistake hides behind the pieces' borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.model.limits import LARGE_ELEMENTS

ROWS, WIDTH = 1100, 1000
assert LARGE_ELEMENTS.value < ROWS * WIDTH

Rule = Callable[..., Any]


def _drawn(rows: int = ROWS, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(rows), dtype=dtype)


def _peak(call: Callable[[], gl.Report]) -> tuple[gl.Report, int]:
    """The report, and the most memory that torch held at once while it was made."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        report = call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return report, most


@pytest.mark.parametrize("name", ["tanh", "relu", "softmax"])
def test_a_large_call_takes_a_few_times_its_input(name: str) -> None:
    x = _drawn(4 * ROWS)
    report, compared = _peak(lambda: gl.check(getattr(ops, name), x, probes=()))
    assert report.verdict == "pass"
    assert compared <= 6 * x.nbytes
    report, probed = _peak(lambda: gl.check(getattr(ops, name), x))
    assert report.verdict == "pass"
    assert probed <= 16 * x.nbytes


def test_an_input_that_all_rows_share_and_a_mean_over_rows_take_no_more() -> None:
    x, labels = _drawn(4 * ROWS), torch.arange(4 * ROWS) % WIDTH
    weight, bias = (v.clone() for v in _drawn(2))
    # the sum over all rows of a shared gradient may have to be taken in the call's own dtype, and whole, too
    for op, inputs, most in ((ops.layer_norm, (x, weight, bias), 10), (ops.softmax_cross_entropy, (x, labels), 7)):
        report, compared = _peak(lambda op=op, inputs=inputs: gl.check(op, *inputs, probes=()))
        assert report.verdict == "pass"
        assert compared <= most * x.nbytes


def _spoiled(g: torch.Tensor) -> torch.Tensor:
    g = g.clone()
    g[-3, 7] *= 1.01
    return g


def _centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(0)


def _hidden(x: torch.Tensor) -> torch.Tensor:
    """x itself, with the gradient of its column means added."""
    mean = x.mean(0)
    return x + (mean - mean.detach())


SOUND: dict[str, tuple[Rule, Rule]] = {
    "elementwise": (torch.sin, lambda g, y, x: (g * x.cos(),)),
    "centred": (_centred, lambda g, y, x: (g - g.mean(0),)),
    "hidden": (_hidden, lambda g, y, x: (g + g.mean(0),)),
    "mean": (lambda x: x.square().mean(), lambda g, y, x: (2 * g * x / x.numel(),)),
    "sum": (lambda x: x.square().sum(), lambda g, y, x: (2 * g * x,)),
    "neighbours": (lambda x: x * x.roll(1, 0), lambda g, y, x: (g * x.roll(1, 0) + (g * x).roll(-1, 0),)),
}
WRONG: dict[str, tuple[Rule, Rule]] = {
    "one element": (torch.sin, lambda g, y, x: (_spoiled(g) * x.cos(),)),
    "centred": (_centred, lambda g, y, x: (g,)),
    "mean": (lambda x: x.square().mean(), lambda g, y, x: (2 * g * x / x.shape[1],)),
    "neighbours": (lambda x: x * x.roll(1, 0), lambda g, y, x: (g * x.roll(1, 0),)),
    "blocks": (_centred, lambda g, y, x: (torch.cat([b - b.mean(0) for b in g.split(128)]),)),
    "size": (torch.sin, lambda g, y, x: (g * x.cos() * (1 if x.shape[0] < 1000 else 1.001),)),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_large_calls_pass_whether_they_treat_rows_apart_or_not(name: str) -> None:
    forward, backward = SOUND[name]
    assert gl.check(gl.Op(forward, backward), _drawn(), probes=()).verdict == "pass"


DEAR = ("blocks", "centred")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.thorough) if n in DEAR else n for n in WRONG])
def test_mistakes_in_large_calls_are_found(name: str) -> None:
    forward, backward = WRONG[name]
    report = gl.check(gl.Op(forward, backward), _drawn(), probes=())
    assert report.verdict == "fail"
    if name == "one element":
        assert report.gradients[0].wrong_elements == 1
        assert report.gradients[0].worst_index == (ROWS - 3, 7)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.001, "fail")])
def test_the_gradient_of_a_shared_input_is_compared_whole(factor: float, verdict: str) -> None:
    op = gl.Op(lambda x, w: x * w, lambda g, y, x, w: (g * w, factor * (g * x).sum(0)))
    report = gl.check(op, _drawn(), _drawn(2)[0].clone(), probes=())
    assert [each.verdict for each in report.gradients] == ["pass", verdict]
    assert [each.shape for each in report.gradients] == [(ROWS, WIDTH), (WIDTH,)]


def test_a_large_call_says_what_it_compared() -> None:
    report = gl.check(ops.relu, _drawn().round(), probes=())
    assert report.verdict == "pass"
    assert report.gradients[0].elements == ROWS * WIDTH
    assert report.gradients[0].shape == (ROWS, WIDTH)


def test_probes_of_a_large_call_find_what_the_comparison_does_not_show() -> None:
    squared = gl.Op(lambda x: 2 * x, lambda g, y, x: (2 * g * g,))
    assert gl.check(squared, _drawn(), grad_output=torch.ones(ROWS, WIDTH), probes=()).verdict == "pass"
    report = gl.check(squared, _drawn(), grad_output=torch.ones(ROWS, WIDTH), probes=("upstream",))
    assert "not-linear" in {finding.cause for finding in report.findings}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("thorough", [False, True])
def test_large_tensors_of_the_user_stay_as_they_are(dtype: torch.dtype, thorough: bool) -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        output = 2 * x
        x.detach().numpy()[0] = 7.0
        return output

    def backward(g: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> Any:
        found = 2 * g
        g.numpy()[1] = 5.0
        return (found,)

    x, upstream = _drawn(dtype=dtype), _drawn(ROWS, dtype=dtype).flip(0)
    before, given = x.clone(), upstream.clone()
    report = gl.check(gl.Op(writes, backward), x, grad_output=upstream, **({} if thorough else {"probes": ()}))
    assert torch.equal(x, before)
    assert torch.equal(upstream, given)
    assert x.grad is None
    if thorough:
        assert {"mutates-input", "mutates-grad-output"} <= {finding.cause for finding in report.findings}


def _mean_square(x: Any) -> Any:
    value, dx = np.mean(x * x), 2 * x / x.size
    return value, dx


def _square_of_the_mean(x: Any) -> Any:
    value, dx = np.mean(x * x), 2 * x
    return value, dx


WITHOUT_UPSTREAM: dict[str, tuple[Any, str]] = {
    "derivative": ((np.square, lambda x: 2 * x), "pass"),
    "wrong derivative": ((np.square, lambda x: 2.01 * x), "fail"),
    "loss": (_mean_square, "pass"),
    "wrong loss": (_square_of_the_mean, "fail"),
}


@pytest.mark.parametrize(("subject", "verdict"), WITHOUT_UPSTREAM.values(), ids=WITHOUT_UPSTREAM)
def test_a_large_call_without_an_upstream_gradient_is_compared_whole(subject: Any, verdict: str) -> None:
    assert gl.check(subject, _drawn(dtype=torch.float64).numpy(), probes=()).verdict == verdict
