"""What the result of a check depends on beside its settings: files of the user and versions of what is installed.

The rule: a case depends on

- every file of the user that importing the subject's module loads, in a process that had loaded nothing of the user's;
- every file of the user that an import statement in one of these names, also within a function, and so on from there;
- every Python file below the folder of a file that imports or runs code by other means (`importlib`, `exec`, `eval`, ...),
  since what these reach cannot be read off;
- the sources and libraries of extensions (C++, CUDA, `.so`) below the folder of each of these files;
- the files that the plan names with `--source`, for data that the code reads;
- the versions of Python, of torch and NumPy, and of every installed distribution that any of this imports, and the code of this
  package.

What a file is of is decided by where it lies: in a folder for installed packages, in Python's own, or elsewhere, which is the
user's. Whole files count, so that a case runs again more often than it has to, and never too seldom.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gradcheck_lab
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted

_EXTENSIONS = frozenset(".c .cc .cpp .cu .cuh .h .hpp .pyx .pxd .so .pyd .dll .dylib .ptx .cubin".split())
_DYNAMIC = frozenset("importlib imp __import__ import_module exec eval execfile runpy pkgutil compile ctypes".split())
_INSTALLED = ("site-packages", "dist-packages")
_PACKAGE = Path(gradcheck_lab.__file__).resolve().parent
_ALWAYS = ("torch", "numpy")


@dataclass(frozen=True, slots=True)
class Source:
    """The user's files that code depends on, each with the hash of its bytes, and the installed top-level modules."""

    files: dict[str, str]
    installed: tuple[str, ...]

    def digest(self, versions: Mapping[str, str]) -> str:
        """The hash of the files and of those of the `versions` that this depends on."""
        needed = {name: versions[name] for name in {"python", "gradcheck_lab", *_ALWAYS, *self.installed} & versions.keys()}
        text = json.dumps([dict(self.files), needed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def source_of(module_file: str | None, loaded: Iterable[str], known: Collection[str], also: Collection[str] = ()) -> Source:
    """The source of a module that was imported, the only one of the user's in this process.

    `module_file` is the module's own file, `loaded` are the names of the modules that importing it loaded, `known` the
    top-level modules of installed distributions: see `installed_modules`. `also` are files or folders that the plan names.
    """
    found, installed = _Reached(), set[str]()
    for name in loaded:
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str) and is_users(file):
            found.add(Path(file))
        else:
            installed.add(name.partition(".")[0])
    if module_file is not None and is_users(module_file):
        found.add(Path(module_file))
    found.follow()
    found.add_beside()
    names = (installed | found.installed) - sys.stdlib_module_names - {"gradcheck_lab"}
    for name in names - set(known):
        found.files |= set(_files_of_loose(name))
    for path in also:
        found.files |= set(_files_at(Path(path)))
    files = {_named(file): _hash(file) for file in sorted(found.files)}
    return Source(files, tuple(sorted(names & set(known))))


def is_users(file: str | Path) -> bool:
    """Whether a file is the user's: neither installed, nor Python's, nor of this package."""
    path = Path(file).resolve()
    if _PACKAGE in path.parents or any(part in _INSTALLED for part in path.parts):
        return False
    return not any(folder in path.parents for folder in _own_folders())


@dataclass(slots=True)
class _Reached:
    """The files that are reached so far, and the top-level modules that are no files of the user."""

    files: set[Path]
    installed: set[str]
    waiting: list[Path]

    def __init__(self) -> None:
        self.files, self.installed, self.waiting = set(), set(), []

    def add(self, file: Path) -> None:
        """Add a file, and read it later."""
        file = file.resolve()
        if file not in self.files and file.is_file():
            self.files.add(file)
            self.waiting.append(file)

    def follow(self) -> None:
        """Add what the files import, and what these import."""
        while self.waiting:
            file = self.waiting.pop()
            if file.suffix != ".py":
                continue
            names, dynamic = _imports(file)
            for name in names:
                self._add_module(name, file)
            if dynamic:
                for other in _below(file.parent, frozenset({".py"})):
                    self.add(other)

    def add_beside(self) -> None:
        """Add sources and libraries of extensions below the folders of the files."""
        folders = {file.parent for file in self.files}
        outermost = [folder for folder in folders if not any(other in folder.parents for other in folders)]
        for folder in outermost:
            self.files |= set(_below(folder, _EXTENSIONS))

    def _add_module(self, name: str, importer: Path) -> None:
        """Add the files by which a dotted name is imported; where it is relative, it has the importer's folder before it."""
        if name.startswith("."):
            level = len(name) - len(name.lstrip("."))
            if level <= len(importer.parents):
                self._add_dotted(importer.parents[level - 1], name.lstrip(".").split("."))
            return
        words = name.split(".")
        if words[0] == _PACKAGE.name:
            return
        for root in (importer.parent, *_roots(tuple(sys.path))):
            if (root / words[0]).is_dir() or (root / f"{words[0]}.py").is_file():
                self._add_dotted(root, words)
        where = _origin(words[0])
        if where is None or not is_users(where):
            self.installed.add(words[0])
            return
        base = Path(where)
        self._add_dotted(base.parent.parent if base.name == "__init__.py" else base.parent, words)

    def _add_dotted(self, root: Path, words: list[str]) -> None:
        """Add `root/a/__init__.py`, `root/a/b.py` and so on, as far as they are there and the user's."""
        if words == [""]:
            words = []
        candidates = [root / "__init__.py"] if not words else []
        for count in range(1, len(words) + 1):
            base = root.joinpath(*words[:count])
            candidates += [base.with_suffix(".py"), base / "__init__.py"]
        for file in candidates:
            if file.is_file() and is_users(file):
                self.add(file)


def installed_modules() -> frozenset[str]:
    """The top-level modules that installed distributions have, whose versions stand for their code."""
    return frozenset(_distributions())


def versions_of(installed: Collection[str]) -> dict[str, str]:
    """The versions of Python, this package, torch, NumPy and of the distributions of the installed top-level modules.

    That of this package has the hash of its code, since a checkout changes without a new number.
    """
    found = {"python": platform.python_version(), "gradcheck_lab": _own_version()}
    for name in sorted({*_ALWAYS, *installed}):
        distributions = sorted(set(_distributions().get(name, ())))
        if distributions:
            found[name] = " ".join(f"{each} {importlib.metadata.version(each)}" for each in distributions)
    return found


def refuse_changed(files: Mapping[str, str], versions: Mapping[str, str]) -> None:
    """Raise `InvalidArgument` where a file, or a version, is not here what it was in the plan."""
    for name, planned in files.items():
        path = Path(name)
        if not path.is_file():
            raise InvalidArgument(f"{quoted(name)} was there when the campaign was planned; run it in the folder of the plan")
        if _hash(path) != planned:
            raise InvalidArgument(f"{quoted(name)} has changed since the campaign was planned; run campaign plan again")
    here = versions_of([name for name in versions if name not in ("python", "gradcheck_lab")])
    for name, planned in versions.items():
        if here.get(name) != planned:
            there, now = planned, here.get(name, "not installed")
            raise InvalidArgument(f"{name} was {there} in the plan and is {now} here; run campaign plan again")


@cache
def _own_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in names})


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@cache
def _own_version() -> str:
    hashed = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        hashed.update(file.read_bytes())
    return f"{gradcheck_lab.__version__} {hashed.hexdigest()[:12]}"


@cache
def _roots(entries: tuple[str, ...]) -> list[Path]:
    """The folders on the path of imports that are the user's."""
    found = [Path(entry or os.curdir) for entry in entries]
    return [folder for folder in found if folder.is_dir() and is_users(folder / "any.py")]


@cache
def _origin(top: str) -> str | None:
    """The file from which a top-level module is imported; None for those without one."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    return spec.origin if spec.has_location else None


def _files_of_loose(top: str) -> Iterator[Path]:
    """The files of a module that lies in a folder for installed packages and is of no distribution, so has no version."""
    where = _origin(top)
    if where is not None:
        file = Path(where).resolve()
        yield file
        if file.name == "__init__.py":
            yield from _below(file.parent, _EXTENSIONS | {".py"})


def _imports(file: Path) -> tuple[set[str], bool]:
    """The dotted names that a file imports anywhere, and whether it may run code by other means."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set(), True
    names, words = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            separator = "" if module.endswith(".") or not module else "."
            names |= {module} | {f"{module}{separator}{alias.name}" for alias in node.names if alias.name != "*"}
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
    tops = {name.partition(".")[0] for name in names}
    # torch.compile, re.compile and model.eval() are no calls of the builtins
    builtins = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    attributes = words & {"__import__", "import_module"}
    return names, bool((tops | builtins | attributes) & _DYNAMIC)


def _below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """The files below a folder with one of the suffixes, outside of hidden folders, caches and environments."""
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in ("__pycache__", "node_modules", *_INSTALLED)
            and not (Path(place) / name / "pyvenv.cfg").is_file()
        ]
        yield from ((Path(place) / name).resolve() for name in files if Path(name).suffix in suffixes)


def _files_at(path: Path) -> Iterator[Path]:
    """A file, or every file below a folder. Raises `InvalidArgument` where there is neither."""
    if path.is_file():
        yield path.resolve()
    elif path.is_dir():
        yield from (file.resolve() for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    else:
        raise InvalidArgument(f"there is no file or folder {quoted(str(path))}; --source names what the code reads")


def _named(file: Path) -> str:
    """The path of a file from the current directory, or the whole of it where it lies elsewhere."""
    here = Path.cwd().resolve()
    return file.relative_to(here).as_posix() if here in file.parents else file.as_posix()


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
