"""What the cases of campaigns are in these tests: modules that are checked, and checks that take no time."""

from __future__ import annotations

import time
from pathlib import Path

from gradcheck_lab import Report
from gradcheck_lab.campaigns.cases import Answer, Case
from gradcheck_lab.campaigns.manifest import Manifest, Plan, manifest_lines, read_manifest

OPS = """
from gradcheck_lab import Op
from gradcheck_lab.specs import real

def times(c, name, act=lambda g: None, factor=1):
    def backward(grad_output, output, x):
        act(grad_output)
        return (c * factor * grad_output,)
    return Op(lambda x: c * x, backward, name=name, specs=(real("n d"),))
"""


def instant(case: Case) -> Answer:
    """Pass at once."""
    return Answer(Report("pass", case.target, "op", (), (), "none"))


def brief(case: Case) -> Answer:
    """Pass after two hundredths of a second, and say so in a file that is named by the case."""
    with Path("begun.txt").open("a", encoding="utf-8") as file:
        file.write(f"{case.target}\n")
    time.sleep(0.02)
    return instant(case)


def files_here(case: Case) -> Answer:
    """Say which files there are where the check runs."""
    return Answer(None, " ".join(sorted(path.name for path in Path().iterdir())))


def write_module(name: str, **ops: str) -> None:
    """Write a module of ops, each by its arguments of `times` behind the name."""
    lines = [f"{op} = times({rest.replace('NAME', repr(op))})" for op, rest in ops.items()]
    Path(f"{name}.py").write_text("\n".join([OPS, *lines, ""]), encoding="utf-8")


def planned(path: Path, cases: list[Case]) -> Manifest:
    """A manifest of these cases, which depend on nothing."""
    path.write_text("".join(f"{line}\n" for line in manifest_lines(Plan({}, {}), cases)), encoding="utf-8")
    return read_manifest(path)
