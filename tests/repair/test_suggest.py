"""What is suggested passes the full check, in every form; the file is only read, and nothing unverified is suggested."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.edits.applied import applied
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.specs import real
from tests.repair import layers

X = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3) + 0.05
W = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64)
SECONDS = 120.0  # busy machines have to find the same
FILE = Path(layers.__file__)

# by form: the subject, its inputs, and the line that is to be suggested first
FORMS: dict[str, tuple[Callable[[], Any], tuple[Any, ...], str]] = {
    "function": (lambda: layers.Square, (X,), "return 2 * (grad_output * x)"),
    "layer": (layers.Dense, (X.numpy(),), "self.db = dout.sum(0)"),
    "pair": (lambda: (layers.tanh_forward, layers.tanh_backward), (X,), "return (grad_output * (1 - output**2),)"),
    "op": (lambda: layers.tanh, (X,), "return (grad_output * (1 - output**2),)"),
    "custom op": (layers.cube, (X,), "return 3 * x**2 * grad_output"),
}


def mended(suggestion: Any) -> Edit:
    """The edit that a suggestion is."""
    text = FILE.read_text(encoding="utf-8")
    lines = text.splitlines()
    for line in suggestion.diff.splitlines()[2:]:
        if line.startswith("-"):
            at = lines.index(line[1:])
            lines.pop(at)
        elif line.startswith("+"):
            lines.insert(at, line[1:])
            at += 1
    return Edit("", "", str(FILE), suggestion.line, text, "\n".join(lines) + "\n")


EVERY = [pytest.param(name, marks=[pytest.mark.thorough] if name == "layer" else []) for name in FORMS]  # NumPy is compiled


@pytest.mark.parametrize("form", EVERY)
def test_a_mistake_is_mended_in_every_form(form: str) -> None:
    make, inputs, line = FORMS[form]
    subject, before = make(), FILE.read_bytes()
    assert gl.check(subject, *inputs).verdict == "fail"
    found = gl.suggest(subject, *inputs, seconds=SECONDS, most=1)
    assert [each.after for each in found] == [line]
    assert FILE.read_bytes() == before
    assert gl.check(subject, *inputs).verdict == "fail"  # the edit is gone
    with applied(mended(found[0])):
        assert gl.check(subject, *inputs, seed=11).verdict == "pass"


def test_a_gradient_that_was_not_summed_is_summed() -> None:
    (found,) = gl.suggest((layers.scale_forward, layers.scale_backward), X, W, seconds=SECONDS, most=1)
    assert found.after == "return grad_output * weight, (grad_output * x).sum_to_size(weight.shape)"
    assert found.diff.splitlines()[:2] == [f"--- {FILE}", f"+++ {FILE}"]


@pytest.mark.thorough
def test_two_mistakes_are_mended_by_a_pair() -> None:
    (found,) = gl.suggest((layers.scale_forward, layers.two_mistakes), X, W, seconds=SECONDS, most=1)
    assert found.after == "return grad_output * weight, (grad_output * x).sum_to_size(weight.shape)"
    assert len(found.kinds) == 2


def test_a_warning_that_only_the_mended_backward_shows_is_said() -> None:
    (found,) = gl.suggest(layers.RootMeanSquare, X, seconds=SECONDS, most=1)
    assert found.after == "return rate * grad_output - x * rate**3 * (grad_output * x).mean(-1, keepdim=True)"
    assert found.verified == ("the full check with seeds 0 and 7919, with a warning: double-backward",)


def test_specs_add_drawn_calls_to_what_is_passed() -> None:
    (found,) = gl.suggest(layers.tanh, X, specs=[real("n d")], seconds=SECONDS, most=1)
    assert found.verified == ("the full check with seeds 0 and 7919", "20 calls drawn from its specs")


def test_where_no_edit_helps_the_gradient_is_written_out() -> None:
    (found,) = gl.suggest((layers.logistic, layers.nothing_like_it), X, seconds=SECONDS)
    assert found.diff == ""
    (line,) = found.expressions
    assert line.startswith("dx = ")
    x = X.clone().requires_grad_()
    output = layers.logistic(x)
    grad_output = torch.linspace(1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3)
    (expected,) = torch.autograd.grad(output, x, grad_output)
    space = {"torch": torch, "x": X, "output": output.detach(), "grad_output": grad_output}
    torch.testing.assert_close(eval(line.removeprefix("dx = "), space), expected)


def test_a_number_among_the_inputs_is_no_obstacle() -> None:
    assert gl.suggest(layers.Power, X.abs(), 1.5, seconds=2.0) == []


def test_an_edit_that_never_ends_is_left_behind() -> None:
    """`rounds += 1` is among the edits; the mend is another."""
    (found,) = gl.suggest((lambda x: x * x, layers.forever), X, seconds=SECONDS, most=1)
    assert found.after in ("return (2 * grad_output * x,)",)


def test_what_passes_has_no_suggestion() -> None:
    assert gl.suggest(gl.Op(torch.sin, lambda grad_output, output, x: (grad_output * x.cos(),)), X) == []


def test_the_global_generators_and_inputs_are_as_before() -> None:
    state, x = torch.get_rng_state(), X.clone()
    gl.suggest((layers.tanh_forward, layers.tanh_backward), x, seconds=SECONDS, most=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0}, "seconds is 0; pass a number of seconds above 0"),
        ({"seconds": None}, "seconds is None; pass a number of seconds above 0"),
        ({"seconds": "long"}, "seconds is 'long'; pass a number of seconds above 0"),
        ({"most": 0}, "most is 0; pass a whole number of at least 1"),
        ({"tolerance": 1}, "suggest has no argument 'tolerance'; what the forward takes by keyword goes into options"),
    ],
)
def test_an_argument_that_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}"):
        gl.suggest(layers.tanh, X, **arguments)


def test_a_subject_without_inputs_is_refused() -> None:
    message = "tanh was given no inputs; pass its tensors: gl.suggest(tanh, x, ...)"
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}$"):
        gl.suggest(layers.tanh)


def test_numpy_values_are_drawn_again_as_numpy() -> None:
    from gradcheck_lab.repair.verified import other_values

    given = (np.ones((2, 3)) * 1.5, torch.ones(2), 3)
    drawn = other_values(given, 5)
    assert isinstance(drawn[0], np.ndarray)
    assert drawn[0].shape == (2, 3)
    assert not np.array_equal(drawn[0], given[0])
    assert drawn[2] == 3
