"""The user's code that called: its names, and where it stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gradcheck_lab.model.places import shown_path

_OWN = str(Path(__file__).parent.parent) + os.sep


@dataclass(frozen=True, slots=True)
class Caller:
    """The names of the innermost code that is not of this package, its locals before its globals, and its `file.py:3`."""

    scopes: tuple[Mapping[str, Any], ...] = ()
    place: str = ""


def caller() -> Caller:
    """Who called this package; nobody where all code on the stack is its own, as in a command.

    Between a cell and its magic stands IPython, which is no user.
    """
    frame = sys._getframe()
    while frame.f_back is not None and _is_in_between(frame):
        frame = frame.f_back
    if _is_in_between(frame):
        return Caller()
    file = frame.f_code.co_filename
    place = f"{shown_path(file)}:{frame.f_lineno}" if os.path.isfile(file) else ""
    scopes = (frame.f_locals, frame.f_globals) if frame.f_locals is not frame.f_globals else (frame.f_globals,)
    return Caller(scopes, place)


def _is_in_between(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OWN) or str(frame.f_globals.get("__name__")).startswith("IPython.")
