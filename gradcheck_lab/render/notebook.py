"""What a notebook shows while a cell runs: a line of progress in its place, and a report in the notebook's own look."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.observers import observers
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render.html import render_fragment, render_progress
from gradcheck_lab.render.terminal import render_text

Bundle = dict[str, str]  # what is shown, by its MIME type


def in_notebook() -> bool:
    """Whether a cell runs in a kernel, whose front end shows HTML and can replace it. IPython is not imported for that.

    A terminal cannot replace what is above its prompt, and where pytest runs in a cell its tests show nothing.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None and not observers


def show_report(report: ReportData) -> None:
    """Show a report as the result of a cell would be, with the whole text for what has no HTML; print it elsewhere."""
    if in_notebook():
        _display({"text/plain": render_text(report), "text/html": render_fragment(report)})
    else:
        print(render_text(report))


@dataclass
class FuzzProgress:
    """What is known of a fuzz run while it runs: `most` calls are drawn at most, `show` takes what is to be seen.

    `examples` counts the drawn calls, `calls` all of them, `calls_until` those up to and with the first wrong one.
    """

    name: str
    most: int
    show: Callable[[Bundle], object]
    examples: int = 0
    found: bool = False
    calls: int = 0
    calls_until: int = 0
    call: str = ""
    probed: bool = False
    sizes: set[int] = field(default_factory=set)
    _last: float = field(default_factory=time.monotonic)  # what is done within the first moment shows nothing
    _seen: bool = False
    every: ClassVar[float] = 0.2  # seconds between two updates: a message each, which the front end has to keep up with

    def begins(self, number: int, call: str, sizes: set[int], probed: bool) -> None:
        """Take the next call: its number, its words, the sizes of its dimensions, and whether every probe is tried on it."""
        self.calls, self.call, self.probed = number, one_line(call), probed
        self.sizes |= sizes
        self._update(at_once=probed)

    def counted(self, examples: int, found: int) -> None:
        """Take how many calls were drawn, and whether one of them is wrong."""
        if found and not self.found:
            self.calls_until = self.calls
        self.examples, self.found = examples, bool(found)
        self._update()

    @property
    def state(self) -> str:
        """How far the run is, in one line."""
        if self.found:
            return f"{self.name}: drawn call {self.examples} is wrong; {self.calls - self.calls_until} simpler ones tried"
        if self.probed:
            return f"{self.name}: {self.examples} drawn calls, none wrong; every probe on an ordinary one"
        return f"{self.name}: {self.examples} of {self.most} calls, none wrong so far"

    def _update(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if now - self._last >= self.every or (at_once and self._seen):
            self._last, self._seen = now, True
            self.show({"text/plain": self.state, "text/html": render_progress(self)})


@contextmanager
def fuzz_progress(name: str, most: int) -> Iterator[FuzzProgress | None]:
    """Show the progress of a fuzz run in the cell that called it, and take it away at its end. None outside of a notebook."""
    if not in_notebook():
        yield None
        return
    place = _Place()
    try:
        yield FuzzProgress(one_line(name), most, place.show)
    finally:
        place.clear()


@dataclass
class _Place:
    """A place among the outputs of a cell, made when something is first shown there, and left empty at the end."""

    handle: Any = None

    def show(self, bundle: Bundle) -> None:
        if self.handle is None:
            self.handle = _display(bundle, display_id=True)
        else:
            self.handle.update(bundle, raw=True)

    def clear(self) -> None:
        if self.handle is not None:
            self.handle.update({"text/plain": "", "text/html": ""}, raw=True)


def _display(bundle: Bundle, **options: Any) -> Any:
    return sys.modules["IPython"].display.display(bundle, raw=True, **options)
