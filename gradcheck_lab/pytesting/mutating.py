"""`--gradcheck-mutate`: after the tests, mutants of the backwards that they run, and what they do not notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.session import mutate_session, summary_of
from gradcheck_lab.render.mutants import mutants_lines

_SECONDS = 60.0  # that an edit may take beside the tests themselves
REPORTS = pytest.StashKey[list[MutationReport] | str]()
_MARKUPS = {"red": {"red": True}, "green": {"green": True}, "bold": {"bold": True}, "": {}}


def mutate_tests(session: pytest.Session) -> None:
    """Run the mutants of a session whose tests have run, and keep what came of them."""
    try:
        found = mutate_session(session.items, Path(session.config.rootpath), session.config, _SECONDS)
        session.config.stash[REPORTS] = found
    except InvalidArgument as error:
        session.config.stash[REPORTS] = str(error)


def mutation_lines(config: pytest.Config) -> Iterator[tuple[str, dict[str, bool]]]:
    """The lines of the summary, the count last."""
    found = config.stash.get(REPORTS, None)
    if found is None:
        return
    if isinstance(found, str) or not found:
        yield f"no mutants: {found or 'the tests run no hand-written backward of this project in their own process'}", {}
        return
    for report in found:
        for text, style in mutants_lines(report) if report.survivors else ():
            yield text, dict(_MARKUPS.get(style, {}))
    missed = any(report.survivors for report in found)
    yield summary_of(found), {"red" if missed else "green": True}
