"""Modules that tests of edits write and import."""

from __future__ import annotations

import itertools
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_NUMBERS = itertools.count()


def module_of(folder: Path, text: str) -> ModuleType:
    """A module of this text, in a file of its own."""
    path = folder / "layers.py"
    path.write_text(text, encoding="utf-8")
    spec = spec_from_file_location(f"edited_{next(_NUMBERS)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
