"""The cells of docs/notebooks.md that begin with a magic print what is shown below them."""

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import gradcheck_lab as gl
from tests.test_notebook_magic import Shell
from tests.test_readme import blocks_of, normalised, run

PAGE = Path(__file__).parents[2] / "docs" / "notebooks.md"


def test_cells_print_what_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = ModuleType("notebook_cells")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shell, seen = Shell(module.__dict__), 0
    gl.load_ipython_extension(shell)
    blocks = blocks_of(PAGE.read_text(encoding="utf-8"))
    for block, shown in pairwise(blocks):
        if block.language == "python":
            run(block, PAGE, module.__dict__, raises=False)
        elif block.language == "ipython":
            magic, _, cell = block.text.partition("\n")
            capsys.readouterr()
            shell.gradcheck(cell, magic.removeprefix("%%gradcheck"))
            assert normalised(capsys.readouterr().out) == normalised(shown.text), f"notebooks.md:{shown.line}"
            seen += 1
    assert seen
