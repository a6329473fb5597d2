"""`%%gradcheck` runs a cell and compares what it made: on a stand-in of the shell, and on IPython's own where that is."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.notebook_magic import CellRefused

FORWARD = """
import torch
x = torch.arange(6.0).reshape(3, 2).requires_grad_()
W = torch.ones(2, 2, requires_grad=True)
y = x @ W
y.retain_grad()
loss = (y * y).sum()
loss.backward()
"""
BACKWARD = "dy = 2 * y.detach()\ndW = x.detach().T @ dy\ndx = dy @ W.detach().T"
NONE = "nothing to compare: the cell made none of the gradients by hand"
TAKES = "it takes --all and --wrt NAMES; how far a gradient may be off follows from its dtype, so there is no tolerance to set"


@dataclass
class Ended:
    """What a shell says of a cell that ran."""

    error_in_exec: BaseException | None = None
    error_before_exec: BaseException | None = None

    @property
    def success(self) -> bool:
        return self.error_in_exec is None and self.error_before_exec is None


@dataclass
class Shell:
    """What `%%gradcheck` uses of IPython."""

    user_ns: dict[str, Any] = field(default_factory=dict)
    magics: dict[tuple[str, str], Callable[[str, str], None]] = field(default_factory=dict)

    def register_magic_function(self, func: Callable[..., Any], magic_kind: str, magic_name: str) -> None:
        self.magics[magic_kind, magic_name] = func

    def run_cell(self, raw_cell: str) -> Ended:
        try:
            code = compile(raw_cell, "<cell>", "exec")
        except SyntaxError as error:
            return Ended(error_before_exec=error)
        try:
            exec(code, self.user_ns)
        except Exception as error:
            print("".join(traceback.format_exception_only(error)))
            return Ended(error_in_exec=error)
        return Ended()

    def gradcheck(self, cell: str, line: str = "") -> None:
        self.magics["cell", "gradcheck"](line, cell)


@pytest.fixture
def shell() -> Shell:
    found = Shell()
    gl.load_ipython_extension(found)
    found.run_cell(FORWARD)
    return found


def refusal(shell: Shell, cell: str, line: str = "") -> str:
    with pytest.raises(CellRefused) as caught:
        shell.gradcheck(cell, line)
    assert caught.value._render_traceback_() == [f"%%gradcheck: {caught.value}"]
    return str(caught.value)


def test_a_right_cell_passes_and_its_names_stay(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.gradcheck(BACKWARD)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gradients: pass - 3 gradients agree with autograd, as retained in .grad"
    assert "  compared: 3 gradients" in lines
    assert torch.equal(shell.user_ns["dW"], shell.user_ns["W"].grad)


def test_a_wrong_gradient_of_the_cell_is_named_and_those_of_other_cells_are_left_out(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell(BACKWARD + "\ndx = 3 * dx")
    shell.gradcheck("dW = 4 * x.detach().T @ y.detach()")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gradients: gradient of 'W' (dW) is wrong in 4 of 4 elements"
    assert lines[2] == "  cause: constant-factor - it is exactly 2 times the reference"
    assert "  compared: 1 of 3 gradients (2 made in another cell)" in lines
    shell.gradcheck("", "--all --wrt y,W")
    out = capsys.readouterr().out
    assert "  compared: 2 of 3 gradients (1 not wanted)" in out.splitlines()


def test_a_gradient_that_is_wrong_because_of_another_cell_is_said_to_be(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("dy = 3 * y.detach()\nW.grad_ = W.grad + 1")
    shell.gradcheck("dx = dy @ W.detach().T")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gradients: gradient of 'y' (dy) is wrong in 6 of 6 elements"
    assert "  wrong only because of it: x" in lines
    assert not [line for line in lines if "'W'" in line]
    assert "  compared: 2 of 3 gradients (1 made in another cell)" in lines


WRITES = {
    "a tensor in place": ("dW[0, 0] += 1", "'W (dW)'"),
    "an array in place": ("grads['W'][0, 0] += 1", "\"W (grads['W'])\""),
    "an attribute": ("x.grad_ = dx + 1", "'x (x.grad_)'"),
    "autograd's": ("(3 * (x @ W.detach())).sum().backward()", "'x' (dx)"),
}


@pytest.mark.parametrize(("cell", "name"), WRITES.values(), ids=WRITES)
def test_what_a_cell_writes_to_is_made_by_it(cell: str, name: str, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.user_ns["grads"] = {"W": np.ones((2, 2))}
    shell.run_cell(BACKWARD)
    shell.gradcheck(cell)
    out = capsys.readouterr().out
    assert f"gradient of {name}" in out.splitlines()[0]
    assert "made in another cell)" in out


def test_what_a_cell_returned_is_no_name_of_a_tensor(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    history = {"_oh": {}, "_ih": [], "_": shell.user_ns["x"], "_3": shell.user_ns["x"]}
    shell.user_ns = {**history, **shell.user_ns}
    shell.gradcheck("x.grad_ = 4 * y.detach() @ W.detach().T")
    assert capsys.readouterr().out.startswith("gradients: gradient of 'x' is wrong in 6 of 6 elements")


def test_a_cell_that_raises_shows_its_error_and_compares_nothing(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    message = "nothing was compared, since the cell raised ZeroDivisionError"
    assert refusal(shell, "dy = y.detach()\n1 / 0") == message
    assert capsys.readouterr().out == "ZeroDivisionError: division by zero\n\n"
    assert refusal(shell, "dy = = y") == "nothing was compared, since the cell raised SyntaxError"


MISUSES = {
    "nothing made": ("", "a = 3", f"{NONE}, dy, dW, dx; --all compares these"),
    "a tolerance": ("--rtol 1e-3", "", f"unrecognized arguments: --rtol 1e-3; {TAKES}"),
    "wrt of nothing": ("--wrt", "", f"argument --wrt: expected at least one argument; {TAKES}"),
    "an open quote": ("--wrt 'x", "", f"\"--wrt 'x\" cannot be read: No closing quotation; {TAKES}"),
    "wrt of another": ("--all --wrt z", "", "wrt names 'z', which is no input of the gradients; its inputs are y, W, x"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "cell", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_one_line(line: str, cell: str, message: str, shell: Shell) -> None:
    shell.run_cell(BACKWARD)
    assert refusal(shell, cell, line) == message


def test_without_a_gradient_by_hand_the_names_are_said(shell: Shell) -> None:
    assert refusal(shell, "a = 3").startswith("nothing to compare: no tensor in the mapping has a gradient made by hand")


IN_IPYTHON = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell(colors="nocolor")
WRONG = "%%gradcheck\\n" + BACKWARD + "\\ndx = 2 * dx"
RIGHT = "%%gradcheck\\n" + BACKWARD + "\\ndW.shape"
for cell in (FORWARD, "x", "%load_ext gradcheck_lab", RIGHT, WRONG, "%%gradcheck\\n1 / 0"):
    print("success:", shell.run_cell(cell).success)
print("dW" in shell.user_ns)
"""


def test_in_ipython(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    code = f"FORWARD, BACKWARD = {FORWARD!r}, {BACKWARD!r}{IN_IPYTHON}"
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("success: ")] == [*["success: True"] * 5, "success: False"]
    shape = next(number for number, line in enumerate(lines) if "torch.Size([2, 2])" in line)
    assert lines[shape + 1] == "gradients: pass - 3 gradients agree with autograd, as retained in .grad"
    assert "  reproduce: print(gl.compare(globals()))  # run it where these variables are: they hold a graph" in lines
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-3:] == [
        "%%gradcheck: nothing was compared, since the cell raised ZeroDivisionError",
        "success: False",
        "True",
    ]
