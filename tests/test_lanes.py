"""The list of tests that are left to the thorough lane."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lanes import DEAR

ROOT = Path(__file__).parent.parent


def test_every_dear_test_exists() -> None:
    """A row that names no test would be read as one that is left out on purpose."""
    for row in sorted(DEAR):
        path, name = re.fullmatch(r"(tests/\S+\.py)::(\w+)(?:\[.*\])?", row).groups()  # type: ignore[union-attr]
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), row


def test_a_dear_test_without_parameters_is_rare() -> None:
    """Of the others the usual lane has a sibling."""
    assert len([row for row in DEAR if "[" not in row]) < 10
