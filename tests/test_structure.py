"""The structure of the package: imports run downwards only, and stand at the top of a file unless start-up time is at stake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gradcheck_lab"
# the wings from the ground up: each may import from those before it, and from itself
WINGS = (
    "version errors torch_internals triton_internals model kernels specs calls workers rules ops engine render report "
    "diagnosis subjects edits oracles comparison examination probes isolation reproduction check distributed check_distributed "
    "networks discovery fuzzing compare notebook_magic fuzz repair suggest judging judge mutation mutate strategies campaigns "
    "commands pytesting pytest_plugin __init__ __main__"
).split()
# these are loaded before anybody knows whether torch, NumPy, Hypothesis or a renderer will be needed
IMPORT_LATE = {
    "commands/campaign.py": "`--help` answers without torch",
    "commands/cli.py": "`--help` answers without torch",
    "commands/options.py": "`--help` answers without torch",
    "commands/results.py": "`--help` answers without torch",
    "engine/operators.py": "a program without operators does not load all 84 ops",
    "fuzzing/run.py": "naming gl.fuzz does not load Hypothesis",
    "probes/support/opchecked.py": "torch.library.opcheck loads torch's compiler",
    "pytest_plugin.py": "a test run that checks no gradient stays as quick as it was",
    "pytesting/": "a test run that checks no gradient stays as quick as it was",
    "report.py": "a check that nobody prints loads no renderer",
}

# what executes what it reads: nothing that another process or a file holds is given to it, but where a reason stands
EXECUTES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
READS_PICKLES = {
    "workers/envelope.py": "Pebble sends its messages as pickles, which may name its own classes and no other",
    "workers/apart.py": "a new process reads what its parent wrote of the user's function, before any code of it ran there",
}


@dataclass(frozen=True)
class Import:
    """One import of this package's own modules."""

    file: str
    line: int
    wing: str
    module: str
    late: bool

    def __str__(self) -> str:
        return f"gradcheck_lab/{self.file}:{self.line} imports {self.module}"


def imports_of(path: Path, source: str) -> Iterator[Import]:
    """The imports of the package's own modules in a file; those inside a function are late."""
    file = path.as_posix()
    tree = ast.parse(source)
    within = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    wing = path.parts[0].removesuffix(".py")
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "gradcheck_lab":
            names = [f"gradcheck_lab.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            if name.startswith("gradcheck_lab."):
                yield Import(file, node.lineno, wing, name, id(node) in within)


@cache
def every_import() -> list[Import]:
    return [
        found
        for path in sorted(ROOT.rglob("*.py"))
        for found in imports_of(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
    ]


def upwards(found: list[Import]) -> list[str]:
    """What imports from a wing above its own."""
    return [str(each) for each in found if WINGS.index(each.module.split(".")[1]) > WINGS.index(each.wing)]


def circles(found: list[Import]) -> list[str]:
    """Files that import one another at the top, directly or through others."""
    graph: dict[str, set[str]] = {}
    for each in found:
        if not each.late:
            module = "gradcheck_lab." + each.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            graph.setdefault(module, set()).add(each.module)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [*graph.get(start, ())]
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph.get(module, ())
        return seen

    return sorted(module for module in graph if module in reached(module))


def test_every_wing_has_its_place_in_the_order() -> None:
    wings = {
        path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert not wings - set(WINGS), (
        f"{', '.join(sorted(wings - set(WINGS)))} has no place in the order of the wings; add it to WINGS"
    )


def test_imports_run_downwards_only() -> None:
    assert not upwards(every_import())


def test_no_files_import_one_another() -> None:
    assert not circles(every_import())


def test_imports_inside_functions_are_for_start_up_time() -> None:
    late = [each for each in every_import() if each.late and not any(each.file.startswith(name) for name in IMPORT_LATE)]
    assert not [str(each) for each in late]


@pytest.mark.parametrize("name", IMPORT_LATE)
def test_every_exception_is_needed(name: str) -> None:
    assert any(each.late for each in every_import() if each.file.startswith(name)), f"{name} imports nothing late any more"


def test_an_import_that_runs_upwards_is_seen() -> None:
    source = "def f():\n    from gradcheck_lab.probes import ALL\n"
    assert upwards(list(imports_of(Path("oracles/new.py"), source))) == [
        "gradcheck_lab/oracles/new.py:2 imports gradcheck_lab.probes"
    ]


def test_a_circle_is_seen() -> None:
    one = imports_of(Path("calls/one.py"), "from gradcheck_lab.calls.two import a\n")
    two = imports_of(Path("calls/two.py"), "from gradcheck_lab.calls.one import b\n")
    assert circles([*one, *two]) == ["gradcheck_lab.calls.one", "gradcheck_lab.calls.two"]


def test_renderers_see_the_model_only() -> None:
    seen = {each.module.split(".")[1] for each in every_import() if each.wing == "render"}
    assert seen <= {"model", "render", "errors"}


def test_diagnosis_runs_nobodys_code() -> None:
    seen = {each.module.split(".")[1] for each in every_import() if each.wing == "diagnosis"}
    assert not seen & {"subjects", "oracles", "comparison", "examination", "probes"}


def unpickled(source: str) -> list[str]:
    """What a file calls that executes what it reads: loading pickles, a connection's recv, torch.load of more than weights.

    A socket's recv takes the number of bytes, and gives bytes.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in EXECUTES:
            found.append(f"from {node.module}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in EXECUTES:
            found += [] if node.attr == "dumps" else [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            weights = any(each.arg == "weights_only" and ast.unparse(each.value) == "True" for each in node.keywords)
            if (node.func.attr == "recv" and not node.args) or (ast.unparse(node.func) == "torch.load" and not weights):
                found.append(ast.unparse(node.func))
    return found


def test_nothing_is_unpickled_but_where_a_reason_stands() -> None:
    files = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    assert {file for file, source in files.items() if unpickled(source)} == set(READS_PICKLES)


@pytest.mark.parametrize(
    "source", ["pickle.loads(b)", "class U(pickle.Unpickler): ...", "from pickle import loads", "c.recv()", "torch.load(f)"]
)
def test_what_is_unpickled_is_seen(source: str) -> None:
    assert len(unpickled(source)) == 1
