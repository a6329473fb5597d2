"""`gradcheck-lab check --suggest`: what mends the object, and `--diff FILE`, its patch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcheck_lab.model.files import write_text
from gradcheck_lab.model.suggestions import Suggested
from gradcheck_lab.repair.trial import Call
from gradcheck_lab.report import Report
from gradcheck_lab.suggest import refuse_search, suggested


@dataclass(frozen=True, slots=True)
class Searched:
    """The search for what mends a check that failed. Raises `InvalidArgument` unless `seconds` is above 0."""

    seconds: float

    def __post_init__(self) -> None:
        refuse_search(self.seconds, 1)

    def __call__(
        self, subject: Any, inputs: tuple[Any, ...], asked: dict[str, Any], specs: Sequence[str], report: Report
    ) -> Suggested | None:
        """What is found for a check that failed; None for any other."""
        return suggested(subject, Call(inputs, **asked), report, specs, self.seconds) if report.verdict == "fail" else None


def write_patch(report: Report, path: Path) -> str:
    """Write the first suggested diff of a report as a patch; returns what was done, in a sentence.

    The patch names the file as it lies below the current directory, for `git apply` and `patch -p1`.
    """
    found = () if report.suggested is None else report.suggested.suggestions
    first = next((each for each in found if each.diff), None)
    if first is None:
        return f"no edit was found: {path} was not written"
    here = os.path.relpath(first.path)
    name = first.path if here.startswith("..") else f"a/{Path(here).as_posix()}"
    new = name if name == first.path else f"b/{Path(here).as_posix()}"
    lines = first.diff.splitlines()
    write_text(path, "\n".join([f"--- {name}", f"+++ {new}", *lines[2:]]) + "\n")
    return f"the patch is in {path}: git apply {path}"
