"""Notebooks that compute a whole backward by hand: right ones pass whole, and of wrong ones the first wrong line is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.lanes import examples, seed_of, times
from tests.notebooks import Change, retained, softmax_notebook

DTYPES = (torch.float32, torch.float64)
SEEDS = st.integers(0, 2**16)
SCALES = st.sampled_from([0.1, 3.0])
NOISE = ("b1", "logit_maxes")  # whose true gradients are zero


def _terms() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def seen(name: str, value: Tensor, terms: dict[str, Any]) -> Tensor:
        found[name] = terms
        return value

    softmax_notebook(0, 1.0, torch.float64, seen)
    return found


TERMS = _terms()


def mistakes(name: str) -> list[str]:
    """What is tried on a gradient: what can be said of each, and what only of some."""
    terms = TERMS[name]
    kinds = [] if name in NOISE else ["sign", "factor", "thousandth", "one element"]
    kinds += [f"term {k}" for k in range(len(terms.get("terms", ()))) if name != "logits"]
    return kinds + [kind for kind in ("mean", "unsummed", "wrong formula") if kind in terms]


def planted(wrong: str, kind: str) -> Change:
    def change(name: str, value: Tensor, terms: dict[str, Any]) -> Tensor:
        if name != wrong:
            return value
        if kind == "one element":
            changed = value.clone()
            changed.view(-1)[int(value.abs().argmax())] *= 1.5
            return changed
        if kind.startswith("term"):
            return terms["terms"][int(kind[-1])].clone()
        if kind in ("unsummed", "wrong formula"):
            return terms[kind].clone()
        return value * {"sign": -1, "factor": 2, "thousandth": 1.001, "mean": 1 / terms.get("mean", 1)}[kind]

    return change


def named_alone(report: Report, name: str) -> bool:
    """Whether a gradient alone is named, and every other that is wrong is marked as wrong because of it."""
    others = [g for g in report.gradients if g.verdict != "pass" and g.name != name]
    found = {finding.gradient for finding in report.findings}
    return report.verdict == "fail" and found == {name} and all(g.contaminated_by == repr(name) for g in others)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [0.1, 3.0])
@pytest.mark.parametrize("seed", range(times(4, 20)))
def test_a_right_notebook_passes_whole(seed: int, scale: float, dtype: torch.dtype) -> None:
    report = gl.compare(softmax_notebook(seed_of(seed), scale, dtype))
    assert report.verdict == "pass", report
    assert len(report.gradients) == 23


@examples(3)
@given(seed=SEEDS, scale=SCALES, dtype=st.sampled_from(DTYPES))
def test_a_right_notebook_passes_whole_with_its_graph_alive(seed: int, scale: float, dtype: torch.dtype) -> None:
    assert gl.compare(softmax_notebook(seed, scale, dtype, keep=True)).verdict == "pass"


@examples(3)
@given(seed=SEEDS, dtype=st.sampled_from([torch.bfloat16, torch.float16]))
def test_a_right_notebook_in_16_bits_is_not_wrong(seed: int, dtype: torch.dtype) -> None:
    assert gl.compare(softmax_notebook(seed, 0.1, dtype)).verdict != "fail"


@pytest.mark.parametrize("name", TERMS)
@examples(2)
@given(data=st.data(), seed=SEEDS, scale=SCALES, dtype=st.sampled_from(DTYPES), keep=st.booleans())
def test_the_first_wrong_gradient_alone_is_named(
    name: str, data: st.DataObject, seed: int, scale: float, dtype: torch.dtype, keep: bool
) -> None:
    kinds = mistakes(name)
    change = planted(name, data.draw(st.sampled_from(kinds)))
    report = gl.compare(softmax_notebook(seed, scale, dtype, change, keep))
    assert named_alone(report, name), report
    assert "low-precision" not in {finding.cause for finding in report.findings}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_wrong_gradients_are_both_named_in_the_order_of_the_backward(dtype: torch.dtype) -> None:
    first, second = planted("hpreact", "factor"), planted("bnvar", "sign")
    report = gl.compare(softmax_notebook(1, 1.0, dtype, lambda n, v, t: second(n, first(n, v, t), t)))
    assert [(finding.gradient, finding.cause) for finding in report.findings] == [
        ("hpreact", "constant-factor"),
        ("bnvar", "sign"),
    ]
    assert {g.name: g.contaminated_by for g in report.gradients}["gamma"] == "'hpreact'"


def test_where_one_over_a_tiny_probability_overflows_that_line_is_named() -> None:
    report = gl.compare(softmax_notebook(3, 3.0, torch.float32, unstable=True))
    assert named_alone(report, "probs"), report
    assert [finding.cause for finding in report.findings] == ["non-finite"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logits_may_leave_out_what_is_sent_through_their_maximum(dtype: torch.dtype) -> None:
    report = gl.compare(softmax_notebook(0, 3.0, dtype, planted("logits", "term 0")))
    assert report.verdict == "pass", report


def beside_a_million(dtype: torch.dtype, factor: float) -> dict[str, Tensor]:
    """Two parameters, of which one has a gradient of 1e6."""
    g = torch.Generator().manual_seed(0)
    w, big = (torch.randn(5, generator=g).to(dtype).mul(s).requires_grad_() for s in (0.05, 1.0))
    small, large = (w * w).sum(), (1e6 * big).sum()
    loss = small + large
    loss.backward()
    dw, dbig = factor * 2 * w.detach(), torch.full((5,), 1e6, dtype=dtype)
    return {"w": w, "big": big, "loss": loss, "small": small, "large": large, "dw": dw, "dbig": dbig}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_large_gradient_elsewhere_loosens_no_other(dtype: torch.dtype) -> None:
    assert gl.compare(beside_a_million(dtype, 1)).verdict == "pass"
    assert named_alone(gl.compare(beside_a_million(dtype, -1)), "w")
    assert named_alone(gl.compare(beside_a_million(dtype, 1.01)), "w")


def convolutional(seed: int, dtype: torch.dtype, wrong: str = "", keep: bool = False) -> dict[str, Tensor]:
    """A convolution, a layer norm and cross entropy by torch's functions; the backward by hand where that is short."""
    g = torch.Generator().manual_seed(seed)
    x, w, v = (torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for s in ((4, 2, 6, 6), (3, 2, 3, 3), (48, 5)))
    scale, target = torch.rand(48, generator=g, dtype=torch.float64).to(dtype) + 0.5, torch.randint(0, 5, (4,), generator=g)
    for leaf in (w, v, scale):
        leaf.requires_grad_()
    convolved = functional.conv2d(x, w)
    active = functional.relu(convolved)
    flat = active.flatten(1)
    normed = functional.layer_norm(flat, (48,), scale)
    logits = normed @ v
    loss = functional.cross_entropy(logits, target)
    retained([convolved, active, flat, normed, logits])
    loss.backward(retain_graph=keep)
    with torch.no_grad():
        dlogits = (logits.softmax(1) - functional.one_hot(target, 5)) / (2 if wrong == "logits" else 4)
        dv, dnormed = normed.T @ dlogits, dlogits @ v.T
        centred = flat - flat.mean(1, keepdim=True)
        inverse = (centred.square().mean(1, keepdim=True) + 1e-5).rsqrt()
        hat, up = centred * inverse, dnormed * scale
        dscale = (hat * dnormed).sum(0) * (-1 if wrong == "scale" else 1)
        correction = hat * (up * hat).mean(1, keepdim=True)
        dflat = inverse * (up - up.mean(1, keepdim=True) - (0 if wrong == "flat" else correction))
        dactive = dflat.view_as(active)
        dconvolved = dactive * (active > 0)
        dw = torch.nn.grad.conv2d_weight(x, w.shape, dconvolved) * (2 if wrong == "w" else 1)
    return {name: value for name, value in locals().items() if isinstance(value, Tensor)}


@examples(4)
@given(seed=SEEDS, dtype=st.sampled_from(DTYPES), keep=st.booleans())
def test_a_right_notebook_of_torchs_functions_passes_whole(seed: int, dtype: torch.dtype, keep: bool) -> None:
    report = gl.compare(convolutional(seed, dtype, keep=keep))
    assert report.verdict == "pass", report


@pytest.mark.parametrize("wrong", ["logits", "scale", "flat", "w"])
@examples(2)
@given(seed=SEEDS, dtype=st.sampled_from(DTYPES), keep=st.booleans())
def test_the_first_wrong_gradient_of_torchs_functions_is_named(wrong: str, seed: int, dtype: torch.dtype, keep: bool) -> None:
    report = gl.compare(convolutional(seed, dtype, wrong, keep))
    assert named_alone(report, wrong), report


def parameters_only(seed: int, dtype: torch.dtype, wrong: str = "") -> dict[str, Tensor]:
    """Two layers whose intermediates are neither named nor retained."""
    g = torch.Generator().manual_seed(seed)
    x, A, V = (torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for s in ((16, 5), (5, 8), (8, 3)))
    b = torch.zeros(8, dtype=dtype, requires_grad=True)
    A.requires_grad_(), V.requires_grad_()
    loss = (torch.tanh(x @ A + b) @ V).square().mean()
    loss.backward()
    with torch.no_grad():
        h = torch.tanh(x @ A + b)
        dout = 2 * (h @ V) / (48 if wrong != "mean" else 16)
        dV = h.T @ dout
        dh = (1 - h * h) * (dout @ V.T)
        db = dh.sum(0) if wrong != "b" else dh.mean(0)
        dA = x.T @ dh if wrong != "A" else -x.T @ dh
    return {"x": x, "A": A, "V": V, "b": b, "loss": loss, "dA": dA, "dV": dV, "db": db}


@examples(6)
@given(seed=SEEDS, dtype=st.sampled_from(DTYPES))
def test_parameters_alone(seed: int, dtype: torch.dtype) -> None:
    assert gl.compare(parameters_only(seed, dtype)).verdict == "pass"
    for wrong in ("A", "b"):
        assert named_alone(gl.compare(parameters_only(seed, dtype, wrong)), wrong)
    wrong_loss = gl.compare(parameters_only(seed, dtype, "mean"))
    assert {g.name for g in wrong_loss.gradients if g.verdict == "fail"} == {"A", "V", "b"}


def test_a_head_that_no_backward_ran_through_changes_nothing() -> None:
    values = softmax_notebook(0, 3.0, torch.float32)
    values["validation"] = (values["x"] @ values["W1"] + values["b1"]).tanh().square().mean()
    values["shown"] = values["logits"].softmax(1)
    assert gl.compare(values).verdict == "pass"


def test_autograds_own_gradients_stay_as_they_are() -> None:
    values = softmax_notebook(0, 1.0, torch.float32, planted("probs", "factor"), keep=True)
    before = {name: values[name].grad.clone() for name in TERMS if values[name].grad is not None}
    gl.compare(values)
    assert all(torch.equal(before[name], values[name].grad) for name in before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nobody_is_told_to_use_the_dtype_that_is_in_use(dtype: torch.dtype) -> None:
    x = torch.linspace(1, 2, 7, dtype=dtype)
    off = x * (1 + 200 * torch.finfo(dtype).eps * torch.tensor([1, -1, 1, -1, 1, -1, 1], dtype=dtype))
    report = gl.compare({"x": off.to(dtype)}, {"x": x})
    assert report.verdict == "inconclusive"
    assert ("float64" in report.reasons[0]) == (dtype == torch.float32)


def test_capitals_tell_names_apart() -> None:
    b, B = torch.randn(3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    ((b + B) ** 2).sum().backward()
    right = 2 * (b + B).detach()
    report = gl.compare({"b": b, "B": B, "dB": right, "db": right.sum(0)})
    assert [(g.name, g.verdict) for g in report.gradients] == [("B", "pass"), ("b", "pass")]
    wrong = gl.compare({"b": b, "B": B, "dB": -right, "db": right.sum(0)})
    assert [(f.gradient, f.cause) for f in wrong.findings] == [("B", "sign")]


def test_one_gradient_of_other_capitals_is_paired() -> None:
    W = torch.randn(2, 3, requires_grad=True)
    (W**2).sum().backward()
    assert gl.compare({"W": W, "dw": 2 * W.detach()}).verdict == "pass"


@pytest.mark.parametrize("tracked", [False, True])
def test_value_of_the_forward_that_is_called_as_a_gradient_is_none(tracked: bool) -> None:
    x, W = torch.randn(5, 3, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    dx = x - x.mean(0)
    h = dx @ W
    loss = (h**2).mean()
    loss.backward()
    with torch.set_grad_enabled(tracked):
        right = dx.T @ (2 * h / h.numel())
    largest = (right - W).abs().max()  # made of the gradient, and no loss
    values = {"x": x, "W": W, "dx": dx, "h": h, "loss": loss, "largest": largest}
    report = gl.compare({**values, "dW": right})
    assert [(g.name, g.verdict) for g in report.gradients] == [("W", "pass")]
    assert "compared: 1 of 2 gradients (1 a value of the forward)" in str(report)
    assert [f.cause for f in gl.compare({**values, "dW": -right}).findings] == ["sign"]
    with pytest.raises(gl.InvalidArgument, match="dx went into the loss"):
        gl.compare({"x": x, "dx": dx, "loss": loss})


def test_rare_name_is_a_gradient_in_the_shape_of_its_tensor_alone() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    (x**2).sum().backward()
    right = 2 * x.detach()
    assert gl.compare({"x": x, "gx": right, "x_g": torch.ones(2)}).gradients[0].verdict == "pass"
    assert [f.cause for f in gl.compare({"x": x, "dx": right.sum(0)}).findings] == ["wrong-shape"]


def fused(seed: int, wrong: str = "") -> dict[str, Any]:
    """The classifier with its loss in one step, which no graph says how to go back through once it was freed."""
    values = softmax_notebook(seed, 1.0, torch.float32)
    W1, W2, b2, gamma, beta = (values[name].detach().clone().requires_grad_() for name in ("W1", "W2", "b2", "gamma", "beta"))
    x, y, n = values["x"], values["y"], len(values["x"])
    del values
    hprebn = x @ W1
    bndiff = hprebn - hprebn.mean(0, keepdim=True)
    bndiff2 = bndiff**2
    bnvar = bndiff2.sum(0, keepdim=True) / (n - 1)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = gamma * bnraw + beta
    hh = torch.tanh(hpreact)
    logits = hh @ W2 + b2
    loss = functional.cross_entropy(logits, y)
    retained([bndiff, bndiff2, bnvar, bnvar_inv, bnraw, hpreact, hh, logits])
    loss.backward()
    with torch.no_grad():
        dlogits = (logits.softmax(1) - functional.one_hot(y, logits.shape[1])) / n
        dhpreact = (1 - hh**2) * (dlogits @ W2.T)
        dbnraw = gamma * dhpreact
        dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
        dbnvar = -0.5 * (bnvar + 1e-5) ** -1.5 * dbnvar_inv * (1.001 if wrong == "bnvar" else 1)
        dbndiff2 = dbnvar.expand(n, -1) / (n if wrong == "bndiff2" else n - 1)
        dbndiff = bnvar_inv * dbnraw + 2 * bndiff * dbndiff2
    return {name: value for name, value in locals().items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("seed", range(times(3, 20)))
def test_a_loss_in_one_step_hides_nothing_of_what_rounding_does_before_it(seed: int) -> None:
    report = gl.compare(fused(seed_of(seed)))
    assert report.verdict == "pass", report
    for wrong in ("bnvar", "bndiff2"):
        report = gl.compare(fused(seed_of(seed), wrong))
        assert named_alone(report, wrong), report
