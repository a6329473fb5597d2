"""The line of a failure runs in a fresh process of Python, or in a fresh namespace, and fails in the same way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model.limits import DRAWN_ELEMENTS
from gradcheck_lab.reproduction import kept
from gradcheck_lab.reproduction import line as line_module
from gradcheck_lab.reproduction.arrays import array_text, tensor_text
from gradcheck_lab.reproduction.imports import imported
from tests.reproduction import forms
from tests.reproduction.forms import FORMS
from tests.subjects.wrong_everywhere import CALLS, Double, doubled

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.1, -0.3]])


def some(names: Iterable[str], *quick: str) -> list[Any]:
    """All names, most of them in the thorough lane."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.thorough) for name in names]


def outcome(report: gl.Report) -> Any:
    errors = [(f.cause, f.gradient) for f in report.findings if f.severity == "error"]
    return report.verdict, errors


def pasted(line: str, **names: Any) -> gl.Report:
    """What the call in a line returns, in a namespace that has these names only."""
    statements, printed, call = line.partition("  # ")[0].partition("print(")
    assert printed, line
    exec(statements.rstrip("; ").replace("; ", "\n"), names)
    report = eval(call.removesuffix(")"), names)
    assert isinstance(report, gl.Report)
    return report


@pytest.mark.parametrize("name", some(CALLS, "in_lambda", "function", "custom", "program", "cached"))
def test_every_form_is_imported_by_its_own_name_and_fails_alike(name: str) -> None:
    subject, *inputs = CALLS[name]
    report = gl.check(subject, *inputs, probes=())
    assert "  # " not in report.reproduce
    again = pasted(report.reproduce)
    assert outcome(again) == outcome(report)
    assert again.reproduce.endswith(report.reproduce.partition("print(")[2].partition("input_0")[0])


@pytest.mark.parametrize("name", some(FORMS, "nested class", "module", "NumPy layer", "named layer", "options"))
def test_objects_options_and_inputs_of_many_elements_are_made_again(name: str) -> None:
    report = FORMS[name]()
    assert report.verdict == "fail"
    assert "nothing imports" not in report.reproduce
    assert outcome(pasted(report.reproduce)) == outcome(report)


def test_what_nothing_imports_has_the_name_of_the_users_code_and_its_place() -> None:
    def halved(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Any:
        return (grad_output / 2,)

    report = gl.check((doubled, halved), X, probes=())
    at = f"tests/reproduction/test_reproduce.py:{halved.__code__.co_firstlineno}"
    assert report.reproduce.endswith(f"  # run it where halved ({at}) is: nothing imports it")
    assert outcome(pasted(report.reproduce, halved=halved)) == outcome(report)
    op = gl.Op(doubled, lambda grad_output, output, x: (grad_output,), name="twice")
    assert pasted(gl.check(op, X, probes=()).reproduce, op=op).verdict == "fail"


def test_an_object_that_has_no_name_is_made_again_from_its_class() -> None:
    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor

        def backward(self, grad: torch.Tensor) -> torch.Tensor:
            return grad / self.factor

    class Shifted(Scale):
        def __init__(self, less: float) -> None:
            super().__init__(less + 1)

    report = gl.check(Scale(3.0), X, probes=())
    assert "gl.check(Scale(factor=3.0), torch.tensor(" in report.reproduce
    assert outcome(pasted(report.reproduce, Scale=Scale)) == outcome(report)
    report = gl.check(Shifted(2.0), X, probes=())  # it keeps nothing of what it was given
    assert outcome(pasted(report.reproduce, shifted=Shifted(2.0))) == outcome(report)


@pytest.mark.parametrize(
    "value",
    [
        X.t(), X.double().requires_grad_(), X[:, ::2], X[:1].expand(4, 3), X.half(), X.bfloat16(), X.to_sparse(),
        torch.tensor([float("nan"), -0.0, float("inf")]), torch.zeros(0, 3), torch.randn(2, dtype=torch.complex64),
        torch.arange(100).reshape(10, 10), torch.full((70,), 0.3), torch.rand(2, 3, 2).permute(2, 0, 1), torch.tensor(True),
    ],
)  # fmt: skip
def test_a_tensor_is_written_with_its_values_dtype_and_strides(value: torch.Tensor) -> None:
    text = tensor_text(value)
    assert text is not None
    made = eval(text, {"torch": torch})
    assert (made.dtype, made.layout, made.requires_grad) == (value.dtype, value.layout, value.requires_grad)
    assert value.is_sparse or made.stride() == value.stride()
    assert torch.equal(torch.view_as_real(made) if made.is_complex() else made.to_dense().nan_to_num(7),
                       torch.view_as_real(value) if value.is_complex() else value.to_dense().nan_to_num(7))  # fmt: skip


def test_arrays_are_written_and_what_is_too_large_is_not() -> None:
    for value in (np.ones((2, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.float32([0.1]), np.array([True])):
        text = array_text(value)
        assert text is not None
        made = eval(text, {"np": np})
        assert (made.dtype, made.strides, made.tolist()) == (value.dtype, value.strides, value.tolist())
    assert tensor_text(torch.randn(99)) is None
    assert array_text(np.random.default_rng(0).random(99)) is None


def test_inputs_of_many_elements_are_drawn_anew_only_where_they_fail_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    line = gl.check(Double, torch.randn(9, 9), probes=()).reproduce
    assert line.endswith("  # input_0 is drawn anew, and the failure is the same")
    monkeypatch.setattr(line_module, "DRAWN_ELEMENTS", replace(DRAWN_ELEMENTS, value=80))
    line = gl.check(Double, torch.randn(9, 9), probes=()).reproduce
    assert line.endswith("  # input_0 is drawn anew, which was not tried")
    monkeypatch.undo()
    big = torch.linspace(1.0, 2.0, 99)
    big[50] = -31.0
    line = gl.check(forms.right_above_the_bound, big, probes=()).reproduce
    assert f"  # with big = float32[99] of {Path(__file__).relative_to(Path.cwd())}:" in line


def test_no_file_is_written_unless_the_run_saves_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(9, 9)
    monkeypatch.setattr(kept, "failure_folders", [tmp_path / "failures"])
    report = gl.check(Double, x, probes=())
    assert not (tmp_path / "failures").exists()
    assert kept.save(report.reproduce) == ""
    names: dict[str, Any] = {}
    exec(report.reproduce.partition("print(")[0].rstrip("; ").replace("; ", "\n"), names)
    assert torch.equal(names["x"], x)
    assert outcome(pasted(report.reproduce)) == outcome(report)


def test_finished_gradients_are_compared_again() -> None:
    weight = torch.ones(3, requires_grad=True)
    weight.sum().backward()
    assert "# with manual = float32[99], reference = " in gl.compare(torch.rand(99), torch.rand(99)).reproduce
    for manual, reference in (({"w": X}, {"w": X * 2}), (np.ones(3), np.zeros(3)), ([torch.zeros(3)], [weight])):
        report = gl.compare(manual, reference)
        assert outcome(pasted(report.reproduce)) == outcome(report)
    weight.grad_ = torch.zeros(3)  # type: ignore[attr-defined]
    report = gl.compare({"weight": weight})
    assert report.reproduce.startswith("print(gl.compare({'weight': weight}))  # run it where these variables are (tests/")
    assert outcome(pasted(report.reproduce, gl=gl, weight=weight)) == outcome(report)


@pytest.mark.parametrize(("end", "imports"), [("if __name__ == '__main__':\n    run()\n", True), ("run()\n", False)])
def test_a_script_is_imported_where_that_runs_nothing_else(
    end: str, imports: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "user_script.py"
    script.write_text("def double(x):\n    return 2 * x\n\ndef run():\n    pass\n\n" + end)
    main = ModuleType("__main__")
    main.__file__ = str(script)
    exec(compile(script.read_text(), script, "exec"), main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.chdir(tmp_path)
    found = imported(main.double)
    assert (found is not None) == imports
    assert found is None or found.before == ("from user_script import double",)


@pytest.mark.thorough
def test_a_line_from_another_folder_runs_in_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "written_elsewhere.py").write_text(
        "def double(x):\n    return 2 * x\n\ndef backward(grad_output, output, x):\n    return (3 * grad_output,)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.chdir(tmp_path)
    import written_elsewhere as user  # type: ignore[import-not-found]

    report = gl.check((user.double, user.backward), X, probes=())
    assert "sys.path.insert(0, 'code')" in report.reproduce
    root = str(Path(gl.__file__).parent.parent)
    command = [sys.executable, "-c", report.reproduce]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True)
    assert str(report).partition("\n  reproduce")[0] == done.stdout.partition("\n  reproduce")[0]
