"""A hundred and more hostile rows: whatever a subject does and whatever it is given, `check` says so and goes on.

The outcome of a row is the verdict with the cause of the first error, or "refused" for an `InvalidArgument`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.specs import real
from tests.hostile.subjects import (
    ENDLESS,
    EXCEPTIONS,
    FORMS,
    INPUTS,
    RETURNED,
    SOUND,
    Untouchable,
    X,
    nameless,
    op,
    raiser,
    square,
    twice,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, that nested and masked tensors are new
QUICK: dict[str, Any] = {"probes": ("second_backward", "state")}
Row = tuple[Callable[[], Any], str]


def outcome(call: Callable[[], gl.Report]) -> str:
    try:
        report = call()
    except gl.InvalidArgument as error:
        return "refused" if str(error).isprintable() else f"refused with {str(error)!a}"
    assert not any("itself raised" in reason for reason in report.reasons), report.reasons
    assert str(report)
    assert report._repr_html_()
    assert gl.Report.from_dict(report.to_dict()).to_dict() == report.to_dict()
    errors = [finding.cause for finding in report.findings if finding.severity == "error"]
    return " ".join([report.verdict, *errors[:1]])


def raising() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name, error in EXCEPTIONS.items():
        failed = "fail memory-exceeded" if name == "MemoryError" else "fail raises"
        for form, make in FORMS.items() if name in ("SystemExit", "Unprintable") else [("op", op)]:
            rows[f"backward-of-{form}-raises-{name}"] = (lambda m=make, e=error: gl.check(m(raiser(e)), X), failed)
        rows[f"forward-raises-{name}"] = (lambda e=error: gl.check(op(forward=raiser(e)), X), failed)
        rows[f"function-raises-{name}"] = (lambda e=error: gl.check(raiser(e), X), failed)
        rows[f"reference-raises-{name}"] = (lambda e=error: gl.check(op(), X, reference=raiser(e)), failed)
        rows[f"probe-raises-{name}"] = (lambda e=error: gl.check(op(), X, probes=[raiser(e)]), "inconclusive")
    return rows


def returning() -> dict[str, Row]:
    wrong_kind = {"generator", "dict", "string", "object-array", "class", "empty"}
    rows: dict[str, Row] = {}
    for name, make in RETURNED.items():
        for form, subject in FORMS.items():
            wanted = "fail wrong-shape" if name in wrong_kind else "fail wrong-dtype"
            if (form, name) == ("layer", "dict"):  # a layer may return its gradients by name
                wanted = "pass"
            rows[f"{form}-returns-{name}"] = (
                lambda m=make, s=subject: gl.check(s(lambda g, x: m(twice(g, x))), X, **QUICK), wanted,
            )  # fmt: skip
    for name, make in SOUND.items():
        rows[f"op-returns-{name}"] = (lambda m=make: gl.check(op(lambda g, x: m(twice(g, x))), X, **QUICK), "pass")
    rows["forward-returns-negated-view"] = (
        lambda: gl.check(op(forward=lambda x: SOUND["negated-view"](x * x)), X, **QUICK), "pass",
    )  # fmt: skip
    rows["forward-returns-sparse"] = (lambda: gl.check(op(forward=lambda x: (x * x).to_sparse()), X, **QUICK), "refused")
    for name in sorted(set(RETURNED) - {"half", "complex", "object-array", "empty"}):
        forward = RETURNED[name]
        rows[f"forward-returns-{name}"] = (lambda f=forward: gl.check(op(forward=lambda x: f(x * x)), X, **QUICK), "refused")
    return rows


def given() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name, make in INPUTS.items():
        rows[f"input-{name}"] = (lambda m=make: gl.check(op(), m()), "refused")
        rows[f"function-of-{name}"] = (lambda m=make: gl.check(torch.sin, m()), "refused")
        if name not in ("none", "mask"):
            rows[f"grad-output-{name}"] = (lambda m=make: gl.check(op(), X, grad_output=m()), "refused")
            rows[f"subject-{name}"] = (lambda m=make: gl.check(m(), X), "refused")
    return rows


ROWS: dict[str, Row] = {
    **raising(),
    **returning(),
    **given(),
    "exception-without-a-name": (lambda: gl.check(op(raiser(nameless())), X), "fail raises"),
    "output-of-a-class-that-raises": (lambda: gl.check(op(forward=lambda x: (x * x).as_subclass(Untouchable)), X), "refused"),
    "gradient-of-a-class-that-raises": (
        lambda: gl.check(op(lambda g, x: (2 * g * x).as_subclass(Untouchable)), X, **QUICK), "fail raises",
    ),
    "list-that-holds-itself": (lambda: gl.check(lambda x, k: torch.sin(x), X, ENDLESS), "refused"),
    "option-that-holds-itself": (lambda: gl.check(lambda x, k: torch.sin(x), X, options={"k": ENDLESS}), "refused"),
    "endless-recursion": (lambda: gl.check(op(lambda g, x: endless(x)), X), "fail raises"),
    "too-much-memory": (
        lambda: gl.check(op(lambda g, x: torch.empty(2**60)), X), "fail memory-exceeded",
    ),
    "forward-empties-its-input": (lambda: gl.check(op(forward=lambda x: x.resize_(0)), X), "fail mutates-input"),
    "forward-enters-inference-mode": (lambda: gl.check(op(forward=enters_inference_mode), X, **QUICK), "pass"),
    "largest-seed": (lambda: gl.check(op(), X, seed=2**62 - 1), "pass"),
    "compare-nan-with-nan": (lambda: gl.compare({"w": X * torch.nan}, {"w": X * torch.nan}), "inconclusive"),
    "compare-with-infinity": (lambda: gl.compare({"w": X}, {"w": X / 0}), "inconclusive"),
    "compare-nan-with-numbers": (lambda: gl.compare({"w": X * torch.nan}, {"w": X}), "fail non-finite"),
    "compare-sparse": (lambda: gl.compare({"w": X.to_sparse()}, {"w": X}), "pass"),
    "compare-complex": (lambda: gl.compare({"w": X}, {"w": X.to(torch.complex128)}), "fail wrong-dtype"),
    "nothing-in-the-tensor": (lambda: gl.check(op(lambda g, x: 3 * g * x), torch.randn(0, 3)), "refused"),
    "nothing-in-the-output": (lambda: gl.check(op(lambda g, x: 0 * x, lambda x: x[:0]), X), "refused"),
    "upstream-of-zeros": (lambda: gl.check(op(lambda g, x: 3 * g * x), X, grad_output=0 * X, probes=()), "refused"),
    "fuzz-of-nothing": (lambda: gl.fuzz(op(), real("0 d"), max_examples=3), "refused"),
    "raises-from-the-second-call-on": (lambda: gl.check(op(lasts(1)), X), "fail raises"),
    "raises-from-the-fourth-call-on": (lambda: gl.check(op(lasts(3)), X), "fail stale-state"),
    "function-lasts-for-one-call": (lambda: gl.check(FORMS["function"](lasts(1)), X), "fail raises"),
    "forward-lasts-for-one-call": (lambda: gl.check(op(forward=lasts_forward(1)), X), "fail raises"),
    "raises-again-beside-another-probe": (lambda: gl.check(op(lasts(1)), X, probes={"input_layout"}), "inconclusive"),
    "fuzz-whose-subject-ends": (lambda: gl.fuzz(op(raiser(SystemExit(0))), real("n d"), max_examples=3), "fail raises"),
    "probe-yields-something-else": (lambda: gl.check(op(), X, probes=[lambda context: ["text"]]), "inconclusive"),
    "probe-returns-nothing": (lambda: gl.check(op(), X, probes=[lambda context: None]), "inconclusive"),
}


def endless(x: torch.Tensor) -> torch.Tensor:
    return endless(x)


def enters_inference_mode(x: torch.Tensor) -> torch.Tensor:
    torch.inference_mode().__enter__()
    return x * x


def lasts(calls: int) -> Callable[..., Any]:
    """A rule that is right for so many calls, and raises from then on."""
    left = [calls]

    def rule(g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError("a buffer is gone")
        return 2 * g * x

    return rule


def lasts_forward(calls: int) -> Callable[..., Any]:
    rule = lasts(calls)
    return lambda x: rule(x, x) / 2


@pytest.mark.parametrize("name", ROWS)
def test_outcome_of_a_hostile_row(name: str) -> None:
    call, wanted = ROWS[name]
    assert outcome(call) == wanted


def test_the_same_rows_pass_without_what_is_hostile() -> None:
    for form, make in FORMS.items():
        assert outcome(lambda m=make: gl.check(m(), X, **QUICK)) == "pass", form
    assert square(X).shape == X.shape


NAMES = ["a/b/../c", "a\0b", "\ud800x", "\x1b[31mred", "n" * 300, "\u202eabc", "a\nb", "[red]x[/red]<script>"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_hostile_names_are_shown_on_one_line(name: str, tmp_path: Any, capsys: Any) -> None:
    report = gl.check(op(lambda g, x: 3 * g * x, name=name), X, probes=())
    assert report.verdict == "fail"
    assert report.subject.isprintable()
    assert len(report.subject) <= 160
    print(report)
    report.to_html(tmp_path / "report.html")
    assert report.subject in capsys.readouterr().out
    assert gl.fuzz(op(lambda g, x: 3 * g * x, name=name), real("n d"), max_examples=2).verdict == "fail"
