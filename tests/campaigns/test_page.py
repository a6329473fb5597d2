"""docs/campaigns.md shows commands for a shell that there are, beside the Python that tests/test_readme.py runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from gradcheck_lab.commands.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "campaigns.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line.partition("#")[0].partition(">")[0].strip() for block in FENCED for line in block.splitlines()]


def test_shell_lines_are_seen() -> None:
    assert {line.split()[0] for line in LINES} == {"gradcheck-lab", "pip", "ray"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("gradcheck-lab")])
def test_every_command_parses(line: str) -> None:
    _, group, name, *arguments = shlex.split(line)
    commands: Any = typer.main.get_command(app)
    commands.commands[group].commands[name].make_context(name, arguments)
