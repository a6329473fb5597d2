"""The command `gradcheck-lab judge`: one candidate, or a folder of them with a table and a line of JSON for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.judge import judge
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.report import Report

Judging = Callable[[Path], Report]


def candidates_in(folder: Path, task: Path) -> list[Path]:
    """The candidates of a folder: its Python files but the task, and the folders in it that have a candidate.py.

    Raises `InvalidArgument` where there is none.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith((".", "_"))
        and ((path.is_file() and path.suffix == ".py") or (path / "candidate.py").is_file())
        and not path.samefile(task)
    ]
    if not found:
        what = "no Python file, no folder with a candidate.py"
        raise InvalidArgument(f"the folder {quoted(str(folder))} has no candidate: {what}")
    return found


def is_folder_of_candidates(path: Path) -> bool:
    """Whether a path is a folder of several candidates; one with a candidate.py is a candidate itself."""
    return path.is_dir() and not (path / "candidate.py").is_file()


def judging(task: Path, examples: int, timeout: float, memory: float | None, seed: int | None, command: str | None) -> Judging:
    """The judge of one candidate."""

    def judged(candidate: Path) -> Report:
        return judge(task, candidate, examples, timeout, memory, seed, command)

    return judged


def judge_folder(candidates: list[Path], judged: Judging, lines: Path | None) -> tuple[dict[str, ReportData], bool]:
    """Judge each candidate, and add its line of JSON to `lines` at once. Returns the reports, and whether Ctrl-C ended it.

    One whose files cannot be read is inconclusive, and the others are judged.
    """
    reports: dict[str, ReportData] = {}
    if lines is not None:
        lines.write_text("", encoding="utf-8")
    for candidate in candidates:
        try:
            report = judged(candidate)
        except KeyboardInterrupt:
            return reports, True
        except OSError as error:
            report = _unread(candidate, error)
        reports[candidate.name] = report
        if lines is not None:
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"candidate": str(candidate), **report.to_dict()}) + "\n")
    return reports, False


def _unread(candidate: Path, error: OSError) -> Report:
    why = f"{candidate.name} cannot be read: {error}"
    return Report("inconclusive", candidate.stem, "file", (), (), "none", reasons=(why,), environment=environment())
