"""Where a test runs: its markers and the options, made into a plan or a reason why it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gradcheck_lab.pytesting.marks import BadMark, declarations, declared_for, exceptions, targets
from gradcheck_lab.pytesting.session import PLAN, Plan, Session

_TARGET = "_gradcheck_target"


def repeat(metafunc: pytest.Metafunc, session: Session) -> None:
    """Repeat a test for each device and dtype, where there are several.

    Raises `pytest.Collector.CollectError` for a marker that cannot mean anything.
    """
    name = metafunc.function.__name__
    if "gradcheck" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"{name}: the gradcheck marker acts on the gradcheck fixture; add it to the test's arguments"
        )
    try:
        found = targets(declarations(metafunc.definition.iter_markers()), session.settings)
    except BadMark as error:
        raise pytest.Collector.CollectError(f"{name}: {error}") from None
    if len(found) > 1:
        metafunc.fixturenames.append(_TARGET)
        metafunc.parametrize(_TARGET, found, ids=map(str, found))


def plan_all(items: Sequence[pytest.Item], session: Session) -> None:
    """Plan tests that use the fixture, and skip those that cannot run, each with its reason.

    Raises `pytest.UsageError` for a case whose own marker cannot mean anything, and for no device of torch.
    """
    known: dict[str, bool] = {}
    for item in items:
        plan = item.stash[PLAN] = _plan(item, session)
        if plan.target.device is not None and not plan.not_run:
            plan.not_run = _missing(plan.target.device, known)
        if plan.not_run:
            item.add_marker(pytest.mark.skip(reason=plan.not_run))


def _plan(item: pytest.Item, session: Session) -> Plan:
    try:
        declared = declarations(item.iter_markers())
    except BadMark as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    found = targets(declared, session.settings)
    given = getattr(item, "callspec", None)
    if given is not None and _TARGET in given.params:
        found = [target for target in found if target == given.params[_TARGET]]
    elif len(found) > 1:
        raise pytest.UsageError(f"{item.nodeid}: one case of a test cannot have several dtypes or devices; mark the test")
    if not found:
        return Plan(not_run=f"the test is for {declared_for(declared)} only")
    return Plan(found[0], exceptions(declared, found[0]))


def _missing(device: str, known: dict[str, bool]) -> str:
    from gradcheck_lab.pytesting.placement import available

    if device not in known:
        try:
            known[device] = available(device)
        except ValueError as error:
            raise pytest.UsageError(f"--gradcheck-device: {error}") from None
    return "" if known[device] else f"no device {device!r}"
