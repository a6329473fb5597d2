"""The state of a test run, made on first use, so that a run which checks no gradient imports neither torch nor Hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_lab.model.observers import failure_folders, observers
from gradcheck_lab.pytesting.options import read_options

if TYPE_CHECKING:
    from gradcheck_lab.pytesting.session import Session
    from gradcheck_lab.report import Report


class LazySession:
    """A test run that may never check a gradient; its `session` is made once a test does."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.item: pytest.Item | None = None
        self.started: Session | None = None
        values, _ = read_options(config)
        if any(values.values()):
            self.session  # noqa: B018 - wrong options are refused now
        observers.append(self.add_report)
        failure_folders.append(None if self.started is None else self.started.settings.save_failures)

    @property
    def session(self) -> Session:
        """The state of the run."""
        if self.started is None:
            from gradcheck_lab.pytesting.session import Session
            from gradcheck_lab.pytesting.settings import read_settings

            self.started = Session(read_settings(self.config))
            self.started.start_test(self.item)
        return self.started

    def start_test(self, item: pytest.Item | None) -> None:
        """Count what is asserted from now on for the test `item`, or for none."""
        self.item = item
        if self.started is not None:
            self.started.start_test(item)

    def add_report(self, report: Report) -> None:
        """Add a report that is asserted while a test runs."""
        if self.item is not None:
            self.session.add_report(report)

    def stop(self) -> None:
        """Observe no more assertions."""
        observers.remove(self.add_report)
        failure_folders.pop()


LAZY_SESSION = pytest.StashKey[LazySession]()


def session_of(config: Any) -> Session | None:
    """The state of a run; None while no test checked a gradient."""
    lazy = config.stash.get(LAZY_SESSION, None)
    return None if lazy is None else lazy.started
