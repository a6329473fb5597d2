"""Targets that are files: imported by their path, alone or as a part of their package."""

import sys
from pathlib import Path

import pytest

from gradcheck_lab.version import __version__
from tests.command_line import exit_code

CODE = """
import torch
from {package}numbers_of import FACTOR

__gradcheck_specs__ = {{"Square": "real('n d')"}}


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return FACTOR * ctx.saved_tensors[0] * g


class Unknown(Square):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, factor in ((tmp_path / "loose", 2), (tmp_path / "packed_layers", 3)):
        path.mkdir()
        package = "packed_layers." if factor == 3 else ""
        (path / f"squares_{factor}.py").write_text(CODE.format(package=package), encoding="utf-8")
        (path / "numbers_of.py").write_text(f"FACTOR = {factor}\n", encoding="utf-8")
    (tmp_path / "packed_layers" / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("squares_2", "numbers_of", "packed_layers", "packed_layers.squares_3", "packed_layers.numbers_of"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_object_of_a_file_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "loose/squares_2.py:Square") == 0
    assert capsys.readouterr().out.startswith("Square: pass")


@pytest.mark.usefixtures("folder")
def test_file_of_a_package_is_imported_as_a_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "packed_layers/squares_3.py:Square") == 1
    out = capsys.readouterr().out
    assert "cause: constant-factor" in out
    assert "reproduce: gradcheck-lab check packed_layers/squares_3.py:Square --seed 0" in out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("more", "code"), [((), 0), (("--strict",), 3)], ids=["default", "strict"])
def test_what_was_not_checked_is_said_and_strict_counts_it(
    more: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("check", "loose/squares_2.py", "--no-isolate", *more) == code
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "loose/squares_2.py: 1 checked (1 pass); not checked: Unknown (--strict makes that exit 3)"


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--strict",), 3)], ids=["default", "strict"])
def test_strict_counts_what_of_a_module_was_not_checked(
    more: tuple[str, ...], code: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder / "loose")
    assert exit_code("check", "squares_2", *more) == code
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "squares_2: 1 checked (1 pass); not checked: Unknown (--strict makes that exit 3)"


@pytest.mark.usefixtures("folder")
def test_file_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "loose/square.py:Square") == 2
    known = "loose/numbers_of.py, loose/squares_2.py"
    assert capsys.readouterr().err == f"error: there is no file 'loose/square.py'; 'loose' has {known}\n"


def test_file_that_another_module_hides_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "json.py").write_text("", encoding="utf-8")
    assert exit_code("check", "json.py:Square") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: 'json.py' is called as the module 'json' of ")
    assert err.endswith("; rename it\n")


def test_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"gradcheck-lab {__version__}\n"
