"""`gradcheck-lab check --suggest` and `--diff`: what is printed, what is written, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line import exit_code

TEXT = '''import torch


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output
'''


SUGGEST = ("--suggest", "--suggest-seconds", "120")  # busy machines have to find the same


def file_in(folder: Path, name: str, text: str = TEXT) -> Path:
    """A file of one Function, under a name of its own: modules are imported once."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_suggestion_is_printed_and_its_patch_applies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = file_in(tmp_path, "doubled_for_suggest")
    target = f"{path.name}:Double"
    assert exit_code("check", target, "--spec", "real('n d')", *SUGGEST, "--diff", "mend.patch") == 1
    printed = capsys.readouterr().out
    assert "  did you mean (it passes the full check with seeds 0 and 7919" in printed
    assert "    +        return 2 * grad_output\n" in printed
    assert printed.endswith("the patch is in mend.patch: git apply mend.patch\n")
    assert path.read_text() == TEXT
    patch = (tmp_path / "mend.patch").read_text()
    assert patch.splitlines()[:2] == ["--- a/doubled_for_suggest.py", "+++ b/doubled_for_suggest.py"]
    if shutil.which("git"):
        subprocess.run(["git", "apply", "mend.patch"], cwd=tmp_path, check=True)
        assert path.read_text() == TEXT.replace("return grad_output", "return 2 * grad_output")


def test_no_patch_is_written_for_what_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = file_in(tmp_path, "right_for_suggest", TEXT.replace("return grad_output", "return 2 * grad_output"))
    assert exit_code("check", f"{path.name}:Double", "--spec", "real('n d')", "--diff", "mend.patch") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("no edit was found: mend.patch was not written\n")
    assert "did you mean" not in printed
    assert not (tmp_path / "mend.patch").exists()


def test_limits_and_modules_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_in(tmp_path, "refused_for_suggest")
    assert exit_code("check", f"{path}:Double", "--spec", "real('n d')", "--suggest", "--timeout", "5") == 2
    message = "--suggest runs edited code in this process; leave --isolate, --timeout and --memory-limit out"
    assert capsys.readouterr().err == f"error: {message}\n"
    assert exit_code("check", f"{path}:Double", "--spec", "real('n d')", "--suggest", "--suggest-seconds", "0") == 2
    assert "seconds is 0.0; pass a number of seconds above 0" in capsys.readouterr().err
    assert exit_code("check", str(path), "--suggest") == 2
    assert "--suggest and --diff are for one object; write it as " in capsys.readouterr().err
    assert exit_code("check", f"{path}:Double", "--diff", str(tmp_path / "nowhere" / "mend.patch")) == 2
    assert capsys.readouterr().err.startswith("error: cannot write ")
