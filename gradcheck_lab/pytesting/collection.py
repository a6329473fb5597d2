"""At collection, the markers of a test and the options decide where it runs, or why it is skipped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gradcheck_lab.pytesting.marks import (
    BadMark,
    allowed_causes,
    apart,
    declarations,
    declared_names,
    placements,
    wanted_inputs,
)
from gradcheck_lab.pytesting.session import ITEM_SETTINGS, ItemSettings, Session

_PLACEMENT = "_gradcheck_placement"


def parametrize_placements(metafunc: pytest.Metafunc, session: Session) -> None:
    """Parametrize a test by the devices and dtypes that it runs in, where there are several.

    Raises `pytest.Collector.CollectError` for a marker with a wrong argument.
    """
    name = metafunc.function.__name__
    if "gradcheck" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"{name}: the gradcheck marker acts on the gradcheck fixture; add it to the test's arguments"
        )
    try:
        found = placements(declarations(metafunc.definition.iter_markers()), session.settings)
    except BadMark as error:
        raise pytest.Collector.CollectError(f"{name}: {error}") from None
    if len(found) > 1:
        metafunc.fixturenames.append(_PLACEMENT)
        metafunc.parametrize(_PLACEMENT, found, ids=map(str, found))


def configure_items(items: Sequence[pytest.Item], session: Session) -> None:
    """Give each test that uses the fixture its `ItemSettings`, and skip those that cannot run.

    Raises `pytest.UsageError` for a marker of a single case with a wrong argument, and for an option that names no device.
    """
    known: dict[str, bool] = {}
    for item in items:
        settings = item.stash[ITEM_SETTINGS] = _settings_of(item, session)
        if settings.placement.device is not None and not settings.skip_reason:
            settings.skip_reason = _missing(settings.placement.device, known)
        if settings.skip_reason:
            item.add_marker(pytest.mark.skip(reason=settings.skip_reason))


def _settings_of(item: pytest.Item, session: Session) -> ItemSettings:
    try:
        declared = declarations(item.iter_markers())
    except BadMark as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    found = placements(declared, session.settings)
    callspec = getattr(item, "callspec", None)
    if callspec is not None and _PLACEMENT in callspec.params:
        found = [placement for placement in found if placement == callspec.params[_PLACEMENT]]
    elif len(found) > 1:
        raise pytest.UsageError(f"{item.nodeid}: one case of a test cannot have several dtypes or devices; mark the test")
    if not found:
        return ItemSettings(skip_reason=f"the test is for {declared_names(declared)} only")
    return ItemSettings(
        found[0], allowed_causes(declared, found[0]), apart=apart(declared), wrt=wanted_inputs(declared, found[0])
    )


def _missing(device: str, known: dict[str, bool]) -> str:
    """Why a device cannot be used, empty where it can; `known` remembers which can."""
    from gradcheck_lab.calls.placement import available

    if device not in known:
        try:
            known[device] = available(device)
        except ValueError as error:
            raise pytest.UsageError(f"--gradcheck-device: {error}") from None
    return "" if known[device] else f"no device {device!r}"
