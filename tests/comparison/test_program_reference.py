"""A program with `reference=`: its inputs are held against that, and every op is checked alone as ever."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from tests.mistakes.row import normal

INPUTS = normal(6, 3), normal(5, 3, seed=1), normal(5, seed=2), normal(2, 5, seed=3), normal(6, 2, seed=4)
bad_relu = gl.Op(torch.relu, lambda g, o, x: (g * (x > -1),), name="bad_relu")
turned = gl.Op(torch.tanh, lambda g, o, x: (-g * (1 - o * o),), name="turned")


def network(x: Any, w: Any, b: Any, v: Any, target: Any, act: Any = ops.relu) -> Any:
    z = ops.linear(x, w, b)
    a = act(z)
    y = ops.linear(a, v, torch.zeros(2))
    return ops.mse_loss(y, target)


def reference(x: Tensor, w: Tensor, b: Tensor, v: Tensor, target: Tensor) -> Tensor:
    return ((torch.relu(x @ w.T + b) @ v.T - target) ** 2).mean()


def errors(report: Any) -> list[tuple[str, str | None]]:
    return [(finding.cause, finding.op) for finding in report.findings if finding.severity == "error"]


def test_a_right_program_agrees_with_its_reference_and_has_its_intermediates() -> None:
    report = gl.check(network, *INPUTS, reference=reference)
    assert report.verdict == "pass", report
    assert report.oracle == "autograd of the reference in float64"
    assert [gradient.name for gradient in report.gradients] == ["y", "a", "z", "x", "w", "b", "v", "target"]


def test_a_wrong_op_in_the_middle_is_named_and_the_rest_is_because_of_it() -> None:
    report = gl.check(lambda x, w, b, v, t: network(x, w, b, v, t, bad_relu), *INPUTS, reference=reference)
    assert (report.verdict, errors(report)) == ("fail", [("value-dependent", "bad_relu (a)")]), report
    assert [g.name for g in report.gradients if g.contaminated_by == "bad_relu (a)"] == ["z", "x", "w", "b"]


def test_a_reference_of_another_function_is_a_forward_mismatch() -> None:
    report = gl.check(network, *INPUTS, reference=lambda *inputs: 2 * reference(*inputs))
    assert (report.verdict, errors(report)) == ("fail", [("forward-mismatch", None)]), report


def stopped(x: Any, w: Any, b: Any, v: Any, target: Any) -> Any:
    a = ops.relu(ops.linear(x, w, b))
    y = ops.linear(a.data, v, torch.zeros(2))
    return ops.mse_loss(y, target)


def test_right_ops_that_are_put_together_wrongly_fail_by_the_reference() -> None:
    report = gl.check(stopped, *INPUTS, reference=reference)
    assert report.verdict == "fail"
    assert errors(report) == [("missing-gradient", None)] * 3, report
    assert [finding.gradient for finding in report.findings if finding.severity == "error"] == ["x", "w", "b"]


def by_kind(x: Any, w: Any, b: Any, v: Any, target: Any, act: Any = ops.relu) -> Any:
    """On tensors it calls torch's own relu, and on Variables an op."""
    z = ops.linear(x, w, b)
    a = act(z) if isinstance(z, gl.Variable) else torch.relu(z)
    return ops.mse_loss(ops.linear(a, v, torch.zeros(2)), target)


def test_ops_that_a_second_run_does_not_call_are_compared_by_the_reference_and_alone() -> None:
    assert gl.check(by_kind, *INPUTS, reference=reference).verdict == "pass"
    report = gl.check(lambda x, w, b, v, t: by_kind(x, w, b, v, t, bad_relu), *INPUTS, reference=reference)
    assert report.verdict == "fail"
    assert errors(report)[0] == ("value-dependent", "bad_relu"), report


def test_two_mistakes_that_cancel_are_a_warning_beside_a_reference() -> None:
    back = gl.Op(lambda x: 2 * x, lambda g, o, x: (-2 * g,), name="back")
    report = gl.check(lambda x: back(turned(x)), INPUTS[0], reference=lambda x: 2 * torch.tanh(x))
    assert report.verdict == "pass", report
    told = {(finding.cause, finding.op) for finding in report.findings if finding.severity == "warning"}
    assert {("sign", "back"), ("sign", "turned")} <= told, report


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wrong_op_where_the_forward_detaches_is_named(dtype: torch.dtype) -> None:
    def shifted(x: Any) -> Any:
        with torch.no_grad():
            m = x.max()
        return turned(x - m)

    report = gl.check(shifted, INPUTS[0].to(dtype), probes=())
    assert errors(report)[0] == ("sign", "turned"), report
