"""The syntax trees of the package's files, parsed once in each process for all tests that read its source."""

import ast
from functools import cache
from pathlib import Path

import gradcheck_lab

PACKAGE = Path(gradcheck_lab.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """Each file, by its path within the package: "calls/case.py"."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
