"""The report of one check: its data, and what is made of it for a terminal, a page, a notebook and a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradcheck_lab.errors import GradientMismatch
from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.observers import asserted
from gradcheck_lab.model.shown import shown


@dataclass(frozen=True, slots=True)
class Report(ReportData):
    """The verdict, every comparison and every finding of one check.

    `sensitivity` maps each gradient to the smallest error in a single element that this check would have caught, relative
    to the element or to the gradient's root mean square, whichever is larger; None where nothing could be said.
    `evaluations` counts calls of the user's code, `coverage` what was compared and what was not. `examples` is the number of
    drawn calls that were examined, and `failing_case` the smallest of them that fails, as JSON-safe data, both of `gl.fuzz`.
    `print(report)` renders it, laid out for the terminal where standard output is one.
    """

    def raise_if_failed(self) -> None:
        """Raise `GradientMismatch` unless the verdict is `pass`; inconclusive never counts as pass."""
        asserted(self)
        if self.verdict != "pass":
            raise GradientMismatch(self)

    def __repr__(self) -> str:
        causes = dict.fromkeys(f.cause for f in self.findings if f.severity == "error")
        count = len(self.gradients)
        found = f": {', '.join(causes)}" if causes else ""
        return f"<Report of {shown(self.subject, keep='')}: {self.verdict}, {count} gradient{'s' * (count != 1)}{found}>"

    def __str__(self) -> str:
        from gradcheck_lab.calls.randomness import preserved_randomness

        with preserved_randomness():  # Rich draws a number when it is imported
            from gradcheck_lab.render.laid_out import look_of_stdout
            from gradcheck_lab.render.terminal import plain_text

            return plain_text(self, look_of_stdout())

    @property
    def message(self) -> str:
        """The report as plain text with a line for each fact, wherever it is read: what `assert_gradients` raises."""
        from gradcheck_lab.calls.randomness import preserved_randomness

        with preserved_randomness():
            from gradcheck_lab.render.terminal import render_text

            return render_text(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the report as one self-contained HTML page, and write it to `path` where one is given.

        Raises `OSError` where the file cannot be written.
        """
        from gradcheck_lab.render.page import render_html

        page = render_html(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def _repr_html_(self) -> str:
        from gradcheck_lab.render.html import render_fragment

        return render_fragment(self)
