"""The marker `gradcheck(allow=..., dtypes=..., wrt=..., isolate=...)`: where a test runs, what it allows and compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import wrt_of
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.pytesting.options import DTYPES
from gradcheck_lab.pytesting.settings import Settings

NAME = "gradcheck"
_APART = ("isolate", "timeout", "memory_limit")
_KEYWORDS = ("allow", "dtypes", "devices", "wrt", *_APART)


class BadMark(ValueError):
    """A marker with a wrong argument; the message names the fix."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The device and dtype that a test runs with; None leaves tensors as the test made them."""

    device: str | None = None
    dtype: str | None = None

    def __str__(self) -> str:
        return "-".join(part for part in (self.device, self.dtype) if part) or "as given"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one marker says: the allowed causes with their reasons, and the dtypes and devices that it is for (empty: all).

    `apart` are the arguments of `check` by which it runs in a process of its own. `wrt` are the inputs that need a gradient,
    by name or position; None leaves that open.
    """

    allow: Mapping[str, str]
    dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    apart: Mapping[str, Any]
    wrt: tuple[str | int, ...] | None = None

    def covers(self, placement: Placement) -> bool:
        """Whether its causes are allowed in `placement`."""
        return (not self.dtypes or placement.dtype in self.dtypes) and (
            not self.devices or any(_is_on(placement.device, device) for device in self.devices)
        )


def declarations(marks: Iterable[pytest.Mark]) -> tuple[Declaration, ...]:
    """Read the `gradcheck` markers among `marks`; raises `BadMark`."""
    return tuple(_read(mark) for mark in marks if mark.name == NAME)


def allowed_causes(declared: Iterable[Declaration], placement: Placement) -> dict[str, str]:
    """Each cause that is allowed in `placement`, with its reason."""
    return {cause: reason for each in declared if each.covers(placement) for cause, reason in each.allow.items()}


def apart(declared: Iterable[Declaration]) -> dict[str, Any]:
    """The arguments of `check` for a process of its own; of several markers the nearest to the test decides."""
    found: dict[str, Any] = {}
    for each in declared:
        found = {**each.apart, **found}
    return found


def placements(declared: Iterable[Declaration], settings: Settings) -> list[Placement]:
    """The dtypes and devices that both the options and the markers name; one that names none stands for all.

    Empty where they have none in common.
    """
    declared = tuple(declared)
    dtypes = dict.fromkeys(dtype for each in declared for dtype in each.dtypes)
    devices = dict.fromkeys(device for each in declared for device in each.devices)
    run_in = [dtype for dtype in settings.dtypes if not dtypes or dtype in dtypes] if settings.dtypes else list(dtypes)
    run_on = list(devices)
    if settings.devices:
        run_on = [device for device in settings.devices if not devices or any(_is_on(device, each) for each in devices)]
    if (settings.dtypes and not run_in) or (settings.devices and not run_on):
        return []
    return [Placement(device, dtype) for device in run_on or (None,) for dtype in run_in or (None,)]


def declared_names(declared: Iterable[Declaration]) -> str:
    """The dtypes and devices that the markers name, for a message."""
    names = dict.fromkeys(name for each in declared for name in (*each.devices, *each.dtypes))
    return ", ".join(names)


def _is_on(device: str | None, declared: str) -> bool:
    return device is not None and (device == declared or device.partition(":")[0] == declared)


def _read(mark: pytest.Mark) -> Declaration:
    for keyword in mark.kwargs:
        if keyword not in _KEYWORDS:
            raise BadMark(f"the gradcheck marker has no {keyword!r}; it takes {', '.join(_KEYWORDS)}")
    if mark.args:
        raise BadMark(f"the gradcheck marker takes keywords only; it takes {', '.join(_KEYWORDS)}")
    dtypes = tuple(name.removeprefix("torch.") for name in _names(mark, "dtypes"))
    for name in dtypes:
        if name not in DTYPES:
            raise BadMark(f"dtypes of the gradcheck marker names {name!r}; known: {', '.join(DTYPES)}")
    return Declaration(_allowed(mark.kwargs.get("allow", {})), dtypes, _names(mark, "devices"), _apart(mark), _wrt(mark))


def _apart(mark: pytest.Mark) -> dict[str, Any]:
    given = {name: mark.kwargs[name] for name in _APART if name in mark.kwargs}
    if not isinstance(given.get("isolate", True), bool):
        raise BadMark(f"isolate of the gradcheck marker is {given['isolate']!r}; pass True or False")
    for name, unit in (("timeout", "seconds"), ("memory_limit", "bytes")):
        if name in given and (type(given[name]) not in (int, float) or not 0 < given[name] < float("inf")):
            raise BadMark(f"{name} of the gradcheck marker is {given[name]!r}; pass a number of {unit} above 0")
    return given

def wanted_inputs(declared: Iterable[Declaration], placement: Placement) -> tuple[str | int, ...] | None:
    """The inputs that the nearest marker which names some says need a gradient; None where none does."""
    return next((each.wrt for each in declared if each.wrt is not None and each.covers(placement)), None)


def _wrt(mark: pytest.Mark) -> tuple[str | int, ...] | None:
    try:
        return wrt_of(mark.kwargs.get("wrt"))
    except InvalidArgument as error:
        raise BadMark(f"the gradcheck marker: {error}") from None


def _names(mark: pytest.Mark, keyword: str) -> tuple[str, ...]:
    names: Any = mark.kwargs.get(keyword, ())
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise BadMark(f"{keyword} of the gradcheck marker is {names!r}; pass a list: {keyword}=[{str(names)!r}]")
    return tuple(map(str, names))


def _allowed(allow: Any) -> dict[str, str]:
    if not isinstance(allow, Mapping):
        first = next(iter([allow] if isinstance(allow, str) else allow), "sign") if isinstance(allow, Iterable) else "sign"
        raise BadMark(f"allow of the gradcheck marker has no reasons; write allow={{{first!r}: 'why it is right'}}")
    for cause, reason in allow.items():
        if cause not in CAUSES:
            known = ", ".join(sorted(CAUSES))
            raise BadMark(f"allow of the gradcheck marker names {cause!r}, which is no cause; known: {known}")
        if not isinstance(reason, str) or not reason.strip():
            raise BadMark(f"allow of the gradcheck marker has no reason for {cause!r}; say why it is right")
    return dict(allow)
