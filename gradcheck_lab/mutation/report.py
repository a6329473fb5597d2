"""The report of mutants: its data, and what is made of it for a terminal and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradcheck_lab.model.mutants import MutationData
from gradcheck_lab.render.mutants import mutants_html, mutants_text


@dataclass(frozen=True, slots=True)
class MutationReport(MutationData):
    """Every mutant of a backward, and who noticed it; `print(report)` shows the survivors as diffs."""

    def __str__(self) -> str:
        return mutants_text(self)

    def __repr__(self) -> str:
        return f"<MutationReport of {self.subject}: {len(self.counted)} mutants, {len(self.survivors)} survive>"

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the report as one self-contained HTML page, and write it to `path` where one is given.

        Raises `OSError` where the file cannot be written.
        """
        page = mutants_html(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page
