"""What a watch saw, as a report says it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gradcheck_lab.model.not_run import LinesNotRun, NotRun, SideNotTaken
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.subjects.run_lines.function import Function, Watched
from gradcheck_lab.subjects.run_lines.statements import unrun
from gradcheck_lab.subjects.run_lines.watch import Watch


def not_run(watch: Watch | None) -> NotRun:
    """The lines and sides that no call reached; nothing where the calls of the check were not all made."""
    if watch is None or not watch.finished:
        return NotRun()
    functions = [each for each in watch.functions.values() if each is not None and each.scope is not None]
    lines = sorted({each for function in functions for each in _lines(function)}, key=lambda e: (e.file, e.first, e.last))
    asked = [(function, each) for function in functions for each in counted(function)]
    sides = [side for function, each in asked for side in _sides(function, each)]
    return NotRun(tuple(lines), tuple(dict.fromkeys(sides)), 2 * len({_place(f, each) for f, each in asked}))


def counted(function: Function) -> Iterator[Watched]:
    """The conditions that elements were seen to meet or not."""
    for group in function.watched.values():
        yield from (each for each in group if each.elements and each.taken and not each.lost)


def _lines(function: Function) -> Iterator[LinesNotRun]:
    assert function.scope is not None
    for block in unrun(function.scope, function.missing):
        yield LinesNotRun(_file(function), _name(function), block.first, block.last, block.needs)


def _sides(function: Function, watched: Watched) -> Iterator[SideNotTaken]:
    for side, met in zip(watched.condition.sides, (True, False), strict=True):
        if met not in watched.taken:
            yield SideNotTaken(_file(function), _name(function), watched.condition.line, side)


def _place(function: Function, watched: Watched) -> tuple[str, int, str]:
    return function.code.co_filename, watched.condition.line, watched.condition.sides[0]


def _file(function: Function) -> str:
    return one_line(os.path.basename(function.code.co_filename))


def _name(function: Function) -> str:
    return one_line(function.code.co_name)
