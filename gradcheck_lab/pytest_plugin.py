"""The pytest plugin: thin hooks over `gradcheck_lab.pytesting`; loading it imports neither torch nor Hypothesis.

It adds the fixture `gradcheck`, the marker `gradcheck(allow=..., dtypes=..., devices=..., wrt=...)`, options that start with
`--gradcheck-`, and a summary of what was verified. A run that uses none of them looks as it did without the plugin.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_lab.pytesting.lazy import LAZY_SESSION, LazySession, session_of
from gradcheck_lab.pytesting.options import MARKER, add_options, interpret_triton_if_asked, is_on_github, refuse_processes

if TYPE_CHECKING:
    from gradcheck_lab.pytesting.fixture import Gradcheck


@pytest.fixture(scope="session")
def gradcheck(pytestconfig: pytest.Config) -> Gradcheck:
    """`gradcheck(op, *inputs)` asserts gradients, `gradcheck.fuzz(op, *specs)` fuzzes: by the options' device, dtype, seed."""
    from gradcheck_lab.pytesting.fixture import Gradcheck

    return Gradcheck(pytestconfig.stash[LAZY_SESSION].session)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    refuse_processes(config)
    interpret_triton_if_asked(config)
    config.stash[LAZY_SESSION] = LazySession(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    lazy = config.stash.get(LAZY_SESSION, None)
    if lazy is not None:
        lazy.stop()


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "gradcheck" in metafunc.fixturenames or metafunc.definition.get_closest_marker("gradcheck") is not None:
        from gradcheck_lab.pytesting.collection import parametrize_placements

        parametrize_placements(metafunc, metafunc.config.stash[LAZY_SESSION].session)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if "gradcheck" in getattr(item, "fixturenames", ())]
    if ours:
        from gradcheck_lab.pytesting.collection import configure_items

        configure_items(ours, config.stash[LAZY_SESSION].session)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    if not session.config.getoption("--gradcheck-mutate") or session.config.option.collectonly:
        return (yield)
    from gradcheck_lab.pytesting.mutating import mutate_tests

    result = yield
    mutate_tests(session)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    lazy = item.config.stash[LAZY_SESSION]
    lazy.start_test(item)
    try:
        return (yield)
    finally:
        lazy.start_test(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        result = yield
        session = session_of(item.config)
        problem = session.problem() if session is not None else ""
        if problem:
            pytest.fail(problem, pytrace=False)
        return result
    finally:
        session = session_of(item.config)
        if session is not None:
            item.user_properties += session.properties()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = session_of(item.config)
    if session is not None:
        session.finish(report)
        if report.failed and call.excinfo is not None:
            from gradcheck_lab.pytesting.failures import show_mismatch

            show_mismatch(report, call.excinfo.value, session, bool(item.config.getoption("fulltrace", False)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    state = session_of(session.config)
    if state is None:
        return
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["gradcheck"] = state.to_json()
    elif state.settings.report is not None:
        from gradcheck_lab.pytesting.files import write_report

        state.unwritten = write_report(state, state.settings.report)
        if state.unwritten and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what an xdist worker verified; one that crashed sends nothing."""
    sent = getattr(node, "workeroutput", {}).get("gradcheck")
    if sent is not None:
        node.config.stash[LAZY_SESSION].session.merge(sent)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("--gradcheck-mutate"):
        from gradcheck_lab.pytesting.mutating import mutation_lines

        terminalreporter.write_sep("=", "mutants")
        for text, markup in mutation_lines(config):
            terminalreporter.write_line(text, **markup)
    session = session_of(config)
    if session is None or not (session.used or session.settings.any_set):
        return
    from gradcheck_lab.pytesting.summary import summary_lines

    lines = summary_lines(session)
    if lines:
        terminalreporter.write_sep("=", "gradcheck")
    for text, markup in lines:
        terminalreporter.write_line(text, **markup)
    if is_on_github(config):
        from gradcheck_lab.pytesting.github import tell_github_of

        tell_github_of(terminalreporter, session)
