"""The bridge between hooks and state: made on first use, so that a run without gradients imports next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_lab.model.observers import observers
from gradcheck_lab.pytesting.options import read

if TYPE_CHECKING:
    from gradcheck_lab.pytesting.session import Session
    from gradcheck_lab.report import Report


class Lazy:
    """A test run that may never check a gradient; `session` is made when the first test does."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.item: pytest.Item | None = None
        self.started: Session | None = None
        values, _ = read(config)
        if any(values.values()):
            self.session  # noqa: B018 - what was written wrongly is said now
        observers.append(self.asserted)

    @property
    def session(self) -> Session:
        """The state of the run."""
        if self.started is None:
            from gradcheck_lab.pytesting.session import Session
            from gradcheck_lab.pytesting.settings import read_settings

            self.started = Session(read_settings(self.config))
            self.started.begin(self.item)
        return self.started

    def begin(self, item: pytest.Item | None) -> None:
        """Attribute what is asserted from now on to `item`, or to no test."""
        self.item = item
        if self.started is not None:
            self.started.begin(item)

    def asserted(self, report: Report) -> None:
        """Be told of a report that is asserted."""
        if self.item is not None:
            self.session.asserted(report)

    def stop(self) -> None:
        """Be told no more."""
        observers.remove(self.asserted)


LAZY = pytest.StashKey[Lazy]()


def session_of(config: Any) -> Session | None:
    """The state of a run; None while no test checked a gradient."""
    lazy = config.stash.get(LAZY, None)
    return None if lazy is None else lazy.started
