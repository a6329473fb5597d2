"""Pairs whose forward has several outputs: with a cache after them or without one, in NumPy and in torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from tests.mistakes.registry import array, normal

Rule = Callable[..., Any]


def tanh(value: Any) -> Any:
    return torch.tanh(value) if isinstance(value, torch.Tensor) else np.tanh(value)


def forward(x: Any, w: Any) -> Any:
    h = x @ w
    c = tanh(h)
    return h, c, (x, w, c)


def plain(x: Any, w: Any) -> Any:
    h = x @ w
    c = tanh(h)
    return h, c


def nested(x: Any, w: Any) -> Any:
    h, c, kept = forward(x, w)
    return (h, c), kept


def table(x: Any, w: Any) -> Any:
    h, c, kept = forward(x, w)
    return h, c, {"kept": kept}


def rule(dh: Any, dc: Any, cache: Any, wrong: bool) -> Any:
    x, w, c = cache
    d = dh + (2 if wrong else 1) * dc * (1 - c * c)
    return d @ w.T, x.T @ d


def of_both(wrong: bool) -> Rule:
    return lambda dh, dc, cache: rule(dh, dc, cache, wrong)


# the forward, and a backward in another form
FORMS: dict[str, tuple[Rule, Callable[[bool], Rule]]] = {
    "in order": (forward, of_both),
    "by their names": (forward, lambda wrong: lambda dc, dh, cache: rule(dh, dc, cache, wrong)),
    "cache first": (forward, lambda wrong: lambda cache, dh, dc: rule(dh, dc, cache, wrong)),
    "names that say nothing": (forward, lambda wrong: lambda up1, up2, kept: rule(up1, up2, kept, wrong)),
    "a tuple": (forward, lambda wrong: lambda dout, cache: rule(*dout, cache, wrong)),
    "a nested output": (nested, of_both),
    "a dict for a cache": (table, lambda wrong: lambda dh, dc, cache: rule(dh, dc, cache["kept"], wrong)),
    "a dict of gradients": (
        forward,
        lambda wrong: lambda dh, dc, cache: dict(zip(("dw", "dx"), rule(dh, dc, cache, wrong)[::-1], strict=True)),
    ),
    "a dict by plain names": (
        forward,
        lambda wrong: lambda dout, cache: dict(zip(("w", "x"), rule(*dout, cache, wrong)[::-1], strict=True)),
    ),
    "no cache": (plain, lambda wrong: lambda dh, dc, x, w: rule(dh, dc, (x, w, tanh(x @ w)), wrong)),
}
CALLS = {"NumPy": (array(4, 3), array(3, 2, seed=1)), "torch": (normal(4, 3), normal(3, 2, seed=1))}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_several_outputs_are_taken_as_they_stand(form: str, call: str) -> None:
    run, build = FORMS[form]
    sound = gl.check((run, build(False)), *CALLS[call])
    assert sound.verdict == "pass", sound
    assert [gradient.name for gradient in sound.gradients] == ["x", "w"]
    wrong = gl.check((run, build(True)), *CALLS[call], probes=())
    assert {f.gradient for f in wrong.findings if f.cause == "wrong-value"} == {"x", "w"}, wrong


def test_output_that_is_left_out_is_named() -> None:
    dropped = lambda dh, dc, cache: (dh @ cache[1].T, cache[0].T @ dh)  # noqa: E731
    report = gl.check((forward, dropped), *CALLS["NumPy"])
    assert {f.cause for f in report.findings if f.severity == "error"} == {"output-gradient-dropped"}


def test_gradient_that_the_dict_lacks_is_missing() -> None:
    forgets = lambda dh, dc, cache: {"dx": rule(dh, dc, cache, False)[0]}  # noqa: E731
    report = gl.check((forward, forgets), *CALLS["NumPy"], probes=())
    assert [(f.cause, f.gradient) for f in report.findings if f.severity == "error"] == [("missing-gradient", "w")]


def test_backward_with_too_many_arguments_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument, match="its parameters are a, b, c, cache"):
        gl.check((forward, lambda a, b, c, cache: None), *CALLS["NumPy"])
