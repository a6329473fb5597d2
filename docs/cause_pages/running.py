"""The code on the pages of causes: read from its files, and run."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from gradcheck_lab.report import Report

EXAMPLES = Path(__file__).with_name("examples")
DEFINED = re.compile(r"^(?:def |class )?(\w+)(?= = |\(|:)", re.MULTILINE)
FILE = "my_op.py"  # the name under which an example is run


@dataclass(frozen=True, slots=True)
class Example:
    """The parts of an example file: what it tells, the code with the mistake, the call, and the mended code."""

    story: str
    wrong: str
    call: str
    mended: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the two runs printed and returned."""

    message: str
    report: Report
    mended_message: str
    mended: Report


def example_of(cause: str) -> Example:
    """Read the example of a cause."""
    path = EXAMPLES / f"{cause.replace('-', '_')}.py"
    _, story, code = path.read_text(encoding="utf-8").split('"""', 2)
    before, call = code.split("\n# %% call\n")
    call, _, mended = call.partition("\n# %% mended\n")
    return Example(story.strip(), before.strip(), call.strip(), mended.strip())


def wrong_lines(example: Example) -> list[int]:
    """The lines, counted from 1, that the mended code does without, of the functions and classes that it writes anew."""
    kept, defined = set(example.mended.splitlines()), set(DEFINED.findall(example.mended))
    found, within = [], False
    for number, line in enumerate(example.wrong.splitlines(), 1):
        if line[:1].strip():
            within = bool(defined & {*DEFINED.findall(line)})
        if within and line.strip() and line not in kept:
            found.append(number)
    return found


def mended_lines(example: Example) -> list[int]:
    """The lines of the mended code that the wrong code has not."""
    known = {*example.wrong.splitlines(), *example.call.splitlines()}
    return [number for number, line in enumerate(example.mended.splitlines(), 1) if line.strip() and line not in known]


def run(example: Example) -> Outcome:
    """Run an example as it is, then mended."""
    wrong, message = _printed(f"{example.wrong}\n\n{example.call}\nprint(report)\n")
    if not example.mended:
        return Outcome(message, wrong, message, wrong)
    again = "" if "report = " in example.mended else example.call
    mended, mended_message = _printed(f"{example.wrong}\n\n{example.call}\n\n{example.mended}\n\n{again}\nprint(report)\n")
    return Outcome(message, wrong, mended_message, mended)


def _printed(source: str) -> tuple[Report, str]:
    """Run code as a file of its own, whose source can be read; its `report` and what it printed."""
    before, name = Path.cwd(), Path(FILE).stem
    environment = {**os.environ}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
        path = Path(folder) / FILE
        path.write_text(source, encoding="utf-8")
        os.chdir(folder)
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module
        sys.path.insert(0, folder)
        os.environ |= {"COLUMNS": "80", "NO_COLOR": "1"}
        try:
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)
            sys.path.remove(folder)
            del sys.modules[name]
    report = module.__dict__["report"]
    assert isinstance(report, Report)
    return report, out.getvalue()
