"""Where fuzzing keeps its files: beside Hypothesis's own examples."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any


def storage() -> Path:
    """The folder for this package's files beside Hypothesis's own examples, wherever the user has those kept."""
    from hypothesis.configuration import storage_directory

    found: Any = storage_directory("gradcheck_lab")
    create = getattr(found, "create_if_missing", None)
    if create is not None:
        with suppress(OSError):
            create()
    return Path(getattr(found, "path", found))  # older Hypothesis gives the path itself
