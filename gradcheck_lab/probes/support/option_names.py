"""Names of options: those of an entry of a dict have its key."""

from __future__ import annotations

import re
from typing import Any

_ENTRY = re.compile(r"\['([^']*)'\]$")


def entry_name(name: str, key: Any) -> str:
    """The name of an entry of a dict of options."""
    return f"{name}[{key!r}]"


def plain_name(name: str) -> str:
    """The word that the code reads an option by.

    >>> plain_name("bn_param['mode']"), plain_name("stride")
    ('mode', 'stride')
    """
    found = _ENTRY.search(name)
    return found.group(1) if found else name
