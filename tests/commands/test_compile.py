"""`gradcheck-lab check --compile`: the probe `compiled` runs beside the default ones, and the command says so again."""

from pathlib import Path

import pytest

from gradcheck_lab.commands.check import CheckJob
from gradcheck_lab.probes.support import compiling
from tests.command_line import exit_code

SOURCE = """
import torch

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * x * (1 if torch.compiler.is_compiling() else 2)
"""


def test_flag_finds_what_is_wrong_compiled_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "NAMES", ("eager",))
    file = tmp_path / "squares.py"
    file.write_text(SOURCE, encoding="utf-8")
    target = (f"{file}:Square", "--spec", "real('n')")
    assert exit_code("check", *target) == 0
    assert exit_code("check", *target, "--compile") == 1
    said = capsys.readouterr().out
    assert "cause: compiled-mismatch" in said
    assert "--compile" in said
    assert "compiled with 1 backend in " in said


def test_all_that_a_file_defines_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "NAMES", ("eager",))
    file = tmp_path / "described.py"
    file.write_text(f"{SOURCE}\n__gradcheck_specs__ = {{'Square': \"real('n')\"}}\n", encoding="utf-8")
    assert exit_code("check", str(file), "--no-isolate") == 0
    assert exit_code("check", str(file), "--no-isolate", "--compile") == 1
    assert "cause: compiled-mismatch" in capsys.readouterr().out


def test_command_that_runs_it_again_has_the_flag() -> None:
    assert CheckJob("m:f", compiled=True).command == "gradcheck-lab check m:f --seed 0 --compile"
    assert CheckJob("m:f").command == "gradcheck-lab check m:f --seed 0"
