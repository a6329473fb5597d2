"""A write to an input is an error, unless torch's own operation keeps a state there that this call's outputs do not use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import gradcheck_lab as gl

GENERATOR = torch.Generator().manual_seed(3)
X, MEAN = (torch.randn(shape, generator=GENERATOR, dtype=torch.float64) for shape in ((4, 3, 5), (3,)))
VARIANCE = torch.rand(3, generator=GENERATOR, dtype=torch.float64) + 0.5


def batch_norm(x, mean, variance):
    return F.batch_norm(x, mean, variance, training=True)


def instance_norm(x, mean, variance):
    return F.instance_norm(x, mean, variance, use_input_stats=True)


def legit(x, mean, variance):
    return torch.ops.aten._native_batch_norm_legit(x, None, None, mean, variance, True, 0.1, 1e-5)[0]


def native(x, mean, variance):
    return torch.native_batch_norm(x, None, None, mean, variance, True, 0.1, 1e-5)[0]


def then_dropped(x, mean, variance):
    return F.dropout(F.batch_norm(x, mean, variance, training=True))


def written_before_it_is_used(x, mean, variance):
    mean.mul_(0.5)
    return F.batch_norm(x, mean, variance, training=False)


def of_the_caller_alone(x, mean, variance):
    with torch.no_grad():
        mean.mul_(0.9).add_(x.mean((0, 2)), alpha=0.1)
    return (x - x.mean((0, 2), keepdim=True)) / variance[:, None].sqrt()


def past_torch(x, mean, variance):
    mean.data.numpy()[0] += 1
    return F.batch_norm(x, mean + 0, variance, training=False)


def with_weights_written(x, mean, variance):
    y = F.batch_norm(x, None, None, mean, variance, training=True)
    variance.zero_()
    return y


SOUND = [batch_norm, instance_norm, legit, native, then_dropped]
WRONG = [written_before_it_is_used, of_the_caller_alone, past_torch, with_weights_written]


@pytest.mark.parametrize("function", SOUND, ids=lambda f: f.__name__)
def test_running_statistics_of_torch_are_a_note_and_constants(function):
    for x in (X.clone().requires_grad_(), X.clone()):
        report = gl.check(function, x, MEAN, VARIANCE)
        assert report.verdict == "pass", str(report)
        assert [(f.cause, f.severity) for f in report.findings if f.cause != "stochastic"] == [("mutates-input", "note")] * 2
        assert "2 taken as a constant" in str(report)


def test_so_are_those_given_as_options():
    options = {"running_mean": MEAN, "running_var": VARIANCE, "training": True}
    report = gl.check(F.batch_norm, X.clone().requires_grad_(), options=options)
    assert report.verdict == "pass", str(report)
    assert {f.severity for f in report.findings} == {"note"}


@pytest.mark.parametrize("function", WRONG, ids=lambda f: f.__name__)
def test_another_write_to_a_constant_is_an_error(function):
    report = gl.check(function, X.clone().requires_grad_(), MEAN, VARIANCE)
    assert report.verdict == "fail", str(report)
    assert "mutates-input" in [f.cause for f in report.findings if f.severity == "error"], str(report)
