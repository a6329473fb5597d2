"""The Python files of a folder that may define something with a gradient, found without importing any."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradcheck_lab.errors import InvalidArgument

# without one of these words, or a function or class of its own, a file is a script or has no hand-written backward
_WORDS = re.compile(r"backward|grad|deriv|prime|vjp|bprop|backprop|Function|Module|custom_op|\bOp\b")
_TESTS = ("test", "tests")
# files that are run and not imported
_RUN = ("setup.py", "conftest.py", "noxfile.py", "__main__.py")
_BUILT = ("node_modules", "site-packages", "build", "dist")


@dataclass(frozen=True, slots=True)
class Folder:
    """The files to look into, how many there are in all, and what was left out by its name: folders end in a slash."""

    files: tuple[str, ...]
    count: int
    left_out: tuple[str, ...]


def folder_of(path: str) -> Folder:
    """Look through a folder and those in it, in alphabetic order; links to folders are not followed.

    Left out are hidden folders and files, virtual environments, what tools build, tests, and files that are made to be run,
    `setup.py` and the like. In a folder that is itself one of tests, these are looked into. Raises `InvalidArgument` for a
    folder without a Python file.
    """
    left_out: list[str] = []
    files = list(_walked(Path(path), left_out, Path(path).resolve().name in _TESTS))
    if not files:
        without = f" but {', '.join(left_out)}, which are left out" if left_out else ""
        raise InvalidArgument(f"the folder {path!r} has no Python files{without}; name one that has some")
    return Folder(tuple(str(file) for file in files if _may_define(file)), len(files), tuple(left_out))


def is_folder(target: str) -> bool:
    """Whether a target is a folder: one that is written as a path, or that is no package."""
    path = Path(target)
    as_path = os.sep in target or target in (os.curdir, os.pardir)
    return ":" not in target and path.is_dir() and (as_path or not (path / "__init__.py").is_file())


def _walked(folder: Path, left_out: list[str], tests: bool) -> Iterator[Path]:
    inner = sorted(folder.iterdir())
    for file in inner:
        if file.suffix == ".py" and file.is_file():
            if file.name in _RUN or file.name.startswith(".") or (not tests and _is_test(file)):
                left_out.append(str(file))
            else:
                yield file
    for each in inner:
        if each.is_dir() and not each.is_symlink() and each.name != "__pycache__":
            made = each.name.startswith(".") or each.name in _BUILT or (each / "pyvenv.cfg").is_file()
            if made or (not tests and each.name in _TESTS):
                left_out.append(f"{each}{os.sep}")
            else:
                yield from _walked(each, left_out, tests)


def _is_test(file: Path) -> bool:
    return file.stem.startswith("test_") or file.stem.endswith("_test")


def _may_define(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return True  # importing it says why it cannot be read
    defines = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(tree)) or "Op(" in text
    return defines and _WORDS.search(text) is not None
