"""`gradcheck-lab check` of a folder: every file in processes of its own, and what was not looked into is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gradcheck_lab.discovery.folder import folder_of, is_folder
from gradcheck_lab.errors import InvalidArgument
from tests.command_line import exit_code

SQUARE = """
import torch
from helpers import FACTOR

__gradcheck_specs__ = {"Square": "real('n d')"}


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return FACTOR * ctx.saved_tensors[0] * g
"""
FILES = {
    "one/helpers.py": "FACTOR = 2\n",
    "one/square.py": SQUARE,
    "two/helpers.py": "FACTOR = 3\n",
    "two/square.py": SQUARE + "\n\nclass Unknown(Square):\n    pass\n",
    "broken.py": "import not_installed_anywhere\n\n\ndef backward(): ...\n",
    "ends.py": "import os\n\nbackward = os._exit(4)\n\n\ndef f(): ...\n",
    "plain.py": "raise RuntimeError('nothing in it may be checked')\n",
    "none.py": "def gradient(): ...\n",
    "script.py": "raise RuntimeError('only runs a backward')\n",
    "test_square.py": "raise RuntimeError('backward')\n",
    "square_test.py": "raise RuntimeError('backward')\n",
    "setup.py": "raise RuntimeError('backward')\n",
    "tests/square.py": "def backward(): ...\n",
    ".hidden/square.py": "raise RuntimeError('backward')\n",
    "env/pyvenv.cfg": "",
    "env/square.py": "raise RuntimeError('backward')\n",
}
LEFT_OUT = ["setup.py", "square_test.py", "test_square.py", ".hidden/", "env/", "tests/"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_every_file_is_checked_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "code", "--json", "scan.json") == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0] == "code/two/square.py:Square: gradient of input 0 'x' is wrong in 15 of 15 elements"
    assert "  reproduce: gradcheck-lab check code/two/square.py:Square --seed 0" in lines
    assert lines[-11:] == [
        "object                      verdict      gradients     inputs  backward",
        "code/one/square.py:Square   pass         1             specs   code/one/square.py:15",
        "code/two/square.py:Square   fail         1 of 1 wrong  specs   code/two/square.py:15",
        "code/broken.py              not checked  -             -       -",
        "code/ends.py                not checked  -             -       -",
        "code/two/square.py:Unknown  not checked  -             -       -",
        "not checked: code/broken.py - importing 'broken' raised ModuleNotFoundError: No module named 'not_installed_anywhere'",
        "not checked: code/ends.py - importing 'code/ends.py' ended its process with exit code 4; a module has to be "
        "importable to be checked",
        "not checked: code/two/square.py:Unknown - nothing describes its inputs; add __gradcheck_specs__ = "
        "{'Unknown': \"real('n d')\"} to the module",
        f"left out: {', '.join(f'code/{name}' for name in LEFT_OUT)}",
        "code: 2 checked (1 pass, 1 fail); not checked: code/broken.py, code/ends.py, code/two/square.py:Unknown "
        "(--strict makes that exit 3)",
    ]
    data = json.loads(Path("scan.json").read_text(encoding="utf-8"))
    assert {name: report["verdict"] for name, report in data["reports"].items()} == {
        "code/one/square.py:Square": "pass",
        "code/two/square.py:Square": "fail",
    }
    assert list(data["skipped"]) == ["code/broken.py", "code/ends.py", "code/two/square.py:Unknown"]
    assert data["left_out"] == [f"code/{name}" for name in LEFT_OUT]


def test_what_is_left_out_depends_on_names_alone(folder: Path) -> None:
    found = folder_of(str(folder / "code"))
    names = [str(Path(name).relative_to(folder / "code")) for name in found.files]
    assert names == ["broken.py", "ends.py", "none.py", "one/square.py", "two/square.py"]
    assert found.count == 9
    tests = folder_of(str(folder / "code" / "tests"))
    assert [Path(name).name for name in tests.files] == ["square.py"]


@pytest.mark.usefixtures("folder")
def test_a_package_is_a_module_unless_it_is_written_as_a_path() -> None:
    Path("code/one/__init__.py").touch()
    assert is_folder("code")
    assert is_folder("code/one")
    assert is_folder(".")
    assert not is_folder("code/none.py")
    assert not is_folder("code:name")
    Path("code/__init__.py").touch()
    assert not is_folder("code")
    assert is_folder("code/")


MISUSES = {
    "no-files": (["code/env/empty"], "the folder 'code/env/empty' has no Python files; name one that has some"),
    "left-out": (
        ["code/lib"],
        "the folder 'code/lib' has no Python files but code/lib/setup.py, which are left out; name one that has some",
    ),
    "nothing": (
        ["code/plain"],
        "the 1 Python files of 'code/plain' define no op, autograd Function, custom op, layer or module",
    ),
    "one-process": (
        ["code", "--no-isolate"],
        "the files of a folder are checked in processes of their own; leave --no-isolate out",
    ),
    "options": (
        ["code", "--wrt", "x"],
        "--spec, --option, --allow, --order, --wrt, --suggest and --diff are for one object; "
        "write it as code/file.py:name",
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("arguments", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("code/env/empty", "code/lib", "code/plain"):
        Path(path).mkdir(exist_ok=True)
    Path("code/lib/setup.py").touch()
    Path("code/plain/none.py").touch()
    assert exit_code("check", *arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("more", "code"), [((), 0), (("--strict",), 3)], ids=["default", "strict"])
def test_a_file_that_was_not_imported_counts_as_not_checked(
    more: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("code/one/broken.py").write_text("raise ValueError('backward')\n\n\ndef f(): ...\n", encoding="utf-8")
    assert exit_code("check", "code/one", *more) == code
    assert capsys.readouterr().out.splitlines()[-1] == (
        "code/one: 1 checked (1 pass); not checked: code/one/broken.py (--strict makes that exit 3)"
    )


def test_a_folder_that_is_no_folder_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        folder_of(str(tmp_path))
