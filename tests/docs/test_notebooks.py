"""The cells of docs/notebooks.md that begin with a magic print what is shown below them."""

import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import gradcheck_lab as gl
from tests.test_notebook_magic import Shell
from tests.test_readme import blocks_of, normalised, run

PAGE = Path(__file__).parents[2] / "docs" / "notebooks.md"


def cells(text: str) -> list[list[str]]:
    """The lines of a report without numbers of the size of rounding: errors in its table, and what would have been caught."""
    whole = re.sub(r"(?<=would have caught).*", "", normalised(text))
    lines = [re.split(r"\s{2,}", line.strip()) for line in whole.splitlines()]
    return [line[:4] if len(line) == 6 else line for line in lines]


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
            assert cells(capsys.readouterr().out) == cells(shown.text), f"notebooks.md:{shown.line}"
            seen += 1
    assert seen
