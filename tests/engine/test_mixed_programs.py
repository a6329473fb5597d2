"""Programs of hand-written ops and torch's own functions: what is torch's is trusted and listed, the ops are checked."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import gradcheck_lab as gl
from gradcheck_lab import ops
from tests.mistakes.row import normal

X, W, B = normal(4, 6, dtype=torch.float32), normal(5, 6, seed=1, dtype=torch.float32), normal(5, seed=2, dtype=torch.float32)
LABELS = torch.tensor([0, 1, 2, 4])


def tanh_times(factor: float) -> gl.Op:
    return gl.Op(torch.tanh, lambda g, o, x: (factor * g * (1 - o * o),), name="my_tanh")


def max_attributes(t: Any, x: Any, w: Any, b: Any) -> Any:
    found = t(x).max(dim=1)
    return found.values * found.indices


def shifted_softmax(t: Any, x: Any, w: Any, b: Any) -> Any:
    h = t(x) - x.max(1, keepdim=True).values.detach()
    return torch.softmax(h, 1)


def rebinding(t: Any, x: Any, w: Any, b: Any) -> Any:
    h = t(x)
    h += 1
    h *= x
    return h


def into_a_buffer(t: Any, x: Any, w: Any, b: Any) -> Any:
    total = torch.zeros(6)
    for k in range(3):
        total += t(x[k])
    return total


def attention(t: Any, x: Any, w: Any, b: Any) -> Any:
    q = t(x).view(4, 2, 3).transpose(0, 1)
    return torch.softmax(q @ q.transpose(-2, -1) / 3**0.5, -1) @ q


def standardised(t: Any, x: Any, w: Any, b: Any) -> Any:
    h = t(x)
    return (h - h.mean(1, keepdim=True)) / torch.sqrt(h.var(1, keepdim=True, unbiased=False) + 1e-5)


def recurrent(t: Any, x: Any, w: Any, b: Any) -> Any:
    h = torch.zeros(4, 5)
    for _ in range(3):
        h = t(F.linear(x, w, b) + h)
    return h


def chosen(t: Any, x: Any, w: Any, b: Any) -> Any:
    h = t(x)
    return h * 2 if (h < 2).all() and h.sum() == h.sum() else h * 3


MIXED: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "mT": lambda t, x, w, b: t(x.mT @ x),
    "column": lambda t, x, w, b: t(F.linear(x, w, b)[:, 0]),
    "new-axis": lambda t, x, w, b: t(x)[:, None, :2],
    "sum-of-both": lambda t, x, w, b: t(x) + torch.tanh(x),
    "cat": lambda t, x, w, b: torch.cat([t(x), x], 1),
    "stack-of-rows": lambda t, x, w, b: torch.stack([t(row) for row in x]).sum(0),
    "split": lambda t, x, w, b: t(x.split(2, 1)[0]) * x.split(2, 1)[1],
    "chunk": lambda t, x, w, b: torch.chunk(t(x), 3, dim=1)[1],
    "unbind": lambda t, x, w, b: sum(t(row) for row in torch.unbind(x, 0)),
    "max-attributes": max_attributes,
    "max-pair": lambda t, x, w, b: t(x).max(1)[0] * 2,
    "topk": lambda t, x, w, b: t(x).topk(2, dim=1).values,
    "sort": lambda t, x, w, b: torch.sort(t(x), dim=1)[0] * torch.arange(6.0),
    "where": lambda t, x, w, b: torch.where(t(x) > 0, t(x), 0.1 * x),
    "boolean-mask": lambda t, x, w, b: t(x)[x > 0],
    "times-a-mask": lambda t, x, w, b: t(x) * (x > 0),
    "times-indices": lambda t, x, w, b: t(x) * torch.arange(6),
    "where-equal": lambda t, x, w, b: torch.where(x == x, t(x), x),
    "einsum": lambda t, x, w, b: torch.einsum("bi,oi->bo", t(x), w) + b,
    "linear": lambda t, x, w, b: t(F.linear(x, w, b)),
    "shape": lambda t, x, w, b: t(x).reshape(x.shape[0], 2, x.size(1) // 2).sum(2) / len(x),
    "attention": attention,
    "standardised": standardised,
    "squared": lambda t, x, w, b: (t(x) ** 2).sum() ** 0.5,
    "distances": lambda t, x, w, b: (t(x).unsqueeze(1) - w.unsqueeze(0)).pow(2).sum(-1),
    "absolute": lambda t, x, w, b: abs(-t(x)),
    "two-outputs": lambda t, x, w, b: (t(x), x.sum(1)),
    "picked": lambda t, x, w, b: -torch.log_softmax(t(F.linear(x, w, b)), 1)[torch.arange(4), LABELS].mean(),
    "against-a-constant": lambda t, x, w, b: t(x).flatten() @ torch.arange(24.0),
    "shifted-softmax": shifted_softmax,
    "rebinding": rebinding,
    "into-a-buffer": into_a_buffer,
    "recurrent": recurrent,
    "chosen": chosen,
    "dropout": lambda t, x, w, b: t(F.dropout(x, 0.5)),
}


def program(name: str, factor: float) -> Callable[[Any, Any, Any], Any]:
    def mixed(x: Any, w: Any, b: Any) -> Any:
        return MIXED[name](tanh_times(factor), x, w, b)

    return mixed


@pytest.mark.parametrize("name", MIXED)
def test_torchs_own_steps_are_trusted(name: str) -> None:
    report = gl.check(program(name, 1.0), X, W, B, probes=())
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.parametrize("name", MIXED)
def test_a_wrong_op_among_torchs_own_steps_is_named(name: str) -> None:
    report = gl.check(program(name, 1.5), X, W, B, probes=())
    assert report.verdict == "fail", report
    first = next(finding for finding in report.findings if finding.severity == "error")
    assert (first.cause, str(first.op).split(" ")[0]) == ("constant-factor", "my_tanh"), report


WRITES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "mul_": (
        lambda h: h.mul_(2),
        "torch's mul_ was applied to a Variable, which nothing writes to; use mul and give its result a name",
    ),
    "relu-in-place": (
        lambda h: F.relu(h, inplace=True),
        "torch's relu_ was applied to a Variable, which nothing writes to; use relu and give its result a name",
    ),
    "item": (lambda h: h.__setitem__(0, 1.0), ""),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_writes_to_a_value_of_a_program_is_refused_and_no_failure(name: str) -> None:
    write, said = WRITES[name]
    with pytest.raises(gl.InvalidArgument) as caught:
        gl.check(lambda x: write(ops.tanh(x)), X)
    assert said in str(caught.value)


def test_a_constant_of_a_call_is_compared_with_the_ops_own_gradient() -> None:
    right = gl.Op(torch.mul, lambda g, o, a, b: (g * b, g * a), name="times")
    wrong = gl.Op(torch.mul, lambda g, o, a, b: (g * b, 5 * g * a), name="times")
    without = gl.Op(torch.mul, lambda g, o, a, b: (g * b, None), name="times")
    for op, verdict in ((right, "pass"), (wrong, "fail"), (without, "pass")):
        for constant in (X, X.double()):
            report = gl.check(lambda x, op=op, constant=constant: op(ops.tanh(x), constant), X.to(constant.dtype), probes=())
            assert report.verdict == verdict, report
    assert gl.check(lambda x: ops.linear(ops.tanh(x), W, torch.ones(5)), X, probes=()).verdict == "pass"
