"""An edited backward runs in the place of the original, in every form of subject, and is gone after the block."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.edits.applied import applied, edited
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds.factors import Double
from gradcheck_lab.edits.kinds.sums import DropSum
from gradcheck_lab.edits.written import written_of
from gradcheck_lab.ops import layer_norm
from tests.edits.written import module_of
from tests.mistakes.registry import operator_name

X = torch.linspace(-1.0, 2.0, 6, dtype=torch.float64).reshape(2, 3)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return slope(grad_output, x)


def slope(grad_output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return grad_output * (2 * x)


class Scale:
    def __init__(self) -> None:
        self.s = np.array([2.0, 3.0, 4.0])

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.s

    def backward(self, dout: Any) -> Any:
        self.ds = self._over_rows(dout * self.x)
        return dout * self.s

    def _over_rows(self, value: Any) -> Any:
        return value.sum(0)


def closure(power: int) -> gl.Op:
    return gl.Op(lambda x: x**power, lambda grad_output, output, x: (grad_output * power * x ** (power - 1),), name="power")


def custom_op() -> Any:
    @torch.library.custom_op(operator_name("cube"), mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x**3

    cube.register_autograd(
        lambda ctx, g: g * 3 * ctx.saved_tensors[0] ** 2,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    return cube


SUBJECTS: dict[str, Callable[[], Any]] = {
    "function": lambda: Square,
    "apply": lambda: Square.apply,
    "layer": Scale,
    "named layer": lambda: gl.Layer(Scale(), grads={"s": "ds"}),
    "lambda in a closure": lambda: closure(3),
    "custom op": custom_op,
    "pair": lambda: (lambda x: x.exp(), lambda grad_output, output, x: (grad_output * output,)),
}


def verdict(subject: Any) -> str:
    x = X.numpy().copy() if isinstance(subject, (Scale, gl.Layer)) else X.clone()
    return gl.check(subject, x, probes=()).verdict


@pytest.mark.parametrize("form", SUBJECTS)
def test_a_doubled_gradient_is_found_in_every_form(form: str) -> None:
    subject = SUBJECTS[form]()
    edits = edits_of(subject, [Double()])
    assert edits
    for edit in edits:
        with edited(subject, edit) as changed:
            assert verdict(changed) == "fail", edit.diff
        assert verdict(subject) == "pass"


def test_the_functions_of_a_backward_are_its_own_and_those_that_it_calls() -> None:
    assert [each.name for each in written_of(Square)] == ["Square.backward", "slope"]
    assert [each.name for each in written_of(Scale())] == ["Scale.backward", "Scale._over_rows"]
    assert [each.name for each in written_of(layer_norm)] == ["layer_norm_backward"]  # its forward calls _normalised too


def test_inspect_reads_the_edited_text_within_the_block() -> None:
    edit = edits_of(Scale(), [DropSum()])[0]
    with applied(edit):
        assert inspect.getsource(Scale._over_rows).strip().endswith("return value")
        assert "return value\n" in inspect.getsource(Scale)
    assert inspect.getsource(Scale._over_rows).strip().endswith("return value.sum(0)")


def test_an_edit_of_an_edited_text_has_both() -> None:
    first = next(edit for edit in edits_of(Square, [Double()]) if "4 * x" in edit.after)
    with applied(first):
        second = next(edit for edit in edits_of(Square, [Double()]) if "8 * x" in edit.after)
        with applied(second):
            (gradient,) = torch.autograd.grad(Square.apply(x := torch.tensor(1.0, requires_grad=True)), x)  # type: ignore[no-untyped-call]
    assert gradient == 8


def test_a_variable_that_an_edit_no_longer_reads_stays_a_cell() -> None:
    subject = closure(3)
    dropped = [edit for edit in edits_of(subject) if edit.kind == "drop-factor" and "grad_output * power," not in edit.after]
    for edit in dropped:
        with edited(subject, edit):
            assert verdict(subject) in ("pass", "fail")


def test_a_diff_is_one_that_a_person_would_write(tmp_path: Path) -> None:
    text = "def forward(x):\n    return x * x  # squared\n\n"
    text += "def backward(grad_output, output, x):\n    return 2 * x * grad_output  # 2x\n"
    module: Any = module_of(tmp_path, text)
    edit = edits_of((module.forward, module.backward), [Double()])[1]
    path = tmp_path / "layers.py"
    assert edit.diff == (
        f"--- {path}\n+++ {path}\n@@ -2,4 +2,4 @@\n     return x * x  # squared\n \n def backward(grad_output, output, x):\n"
        "-    return 2 * x * grad_output  # 2x\n+    return 4 * x * grad_output  # 2x"
    )
    assert str(edit) == "layers.py:5 double: return 2 * x * grad_output  # 2x -> return 4 * x * grad_output  # 2x"
    assert path.read_text() == text


def test_what_has_no_backward_is_refused() -> None:
    message = (
        "cannot edit the backward of relu; pass gl.Op(forward, backward), a pair (forward, backward), "
        "a torch.autograd.Function, a custom op, or an object with the methods forward and backward"
    )
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}$"):
        edits_of(torch.relu)


def test_a_backward_without_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def backward(grad_output, output, x): return grad_output", space)
    message = "the source of the backward of plain is not at hand; define it in a file"
    with pytest.raises(gl.InvalidArgument, match=f"^{message}$"):
        edits_of(gl.Op(torch.relu, space["backward"], name="plain"))


def test_an_edit_of_what_nobody_holds_is_refused() -> None:
    edit = Edit("double", "f", "nowhere.py", 2, "def f():\n    return 1\n", "def f():\n    return 2\n")
    with (
        pytest.raises(gl.InvalidArgument, match=r"^no function f of nowhere\.py is alive; import its module first$"),
        applied(edit),
    ):
        pass
