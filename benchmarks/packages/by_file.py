"""Modules of installed packages, run by their files: the package around them imports what the check does not need."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def module_at(package: str, *parts: str) -> ModuleType:
    """The module at a path in an installed package, without the imports of the package itself."""
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is not installed"
    assert found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]).joinpath(*parts)
    spec = importlib.util.spec_from_file_location(f"{package}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
