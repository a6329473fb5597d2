"""Where the results of a command go beside the terminal: files, each by its ending, and a workflow of GitHub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gradcheck_lab.commands.exits import refuse_unwritable_files, write_json
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.files import SUFFIXES, write_text
from gradcheck_lab.model.shown import quoted

if TYPE_CHECKING:
    from gradcheck_lab.model.findings import ReportData


@dataclass(frozen=True, slots=True)
class Results:
    """The files that a command was told to write, and whether it was told to tell GitHub.

    Raises `InvalidArgument` for a file that cannot be written, or has an ending that stands for nothing.
    """

    json: Path | None
    reports: Sequence[Path]
    github: bool

    def __post_init__(self) -> None:
        for path in self.reports:
            if path.suffix not in SUFFIXES:
                known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
                raise InvalidArgument(f"--report is {quoted(path.name)}; name a file that ends in {known}")
        refuse_unwritable_files(self.json, *self.reports)

    def write(self, title: str, reports: Sequence[tuple[str, ReportData]], data: dict[str, Any], summary: str = "") -> None:
        """Write `reports`, each with its heading; `data` is the whole result. Raises `InvalidArgument` as the disk has it."""
        write_json(self.json, data)
        told = self.github or os.environ.get("GITHUB_ACTIONS") == "true"
        if not self.reports and not told:
            return
        from gradcheck_lab.render.files import report_text, tell_github

        for path in self.reports:
            try:
                write_text(path, report_text(path.suffix, title, summary, reports, data))
            except OSError as error:
                raise InvalidArgument(f"cannot write {quoted(str(path))}: {error.strerror}; name another file") from None
        problem = tell_github(reports, typer.echo) if told else ""
        if problem:
            typer.echo(problem, err=True)
