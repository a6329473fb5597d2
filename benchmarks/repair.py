"""How often the first suggestion mends a planted mistake, and how long that takes.

Every planted mistake of tests/mistakes is written out as a user would have it: in a copy of its file, what depends on whether
the mistake is made is settled, so that no line tells of it. A mistake is a *single edit* where the functions of the wrong
backward and of its sound twin differ in one place by a few pieces of syntax. A suggestion is wrong where the mended
subject fails a deeper check than the one that it passed: two more seeds with other values, and the gradients of the sound twin
on them.

    python -m benchmarks.repair [--seconds 10] [--only NAME] [--every N] [--first K] [--json FILE]
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import libcst as cst

from gradcheck_lab.edits.applied import applied
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.source import Source, source_of
from gradcheck_lab.edits.written import written_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.suggestions import Suggested, Suggestion
from gradcheck_lab.repair.trial import Call
from gradcheck_lab.repair.verified import other_values
from gradcheck_lab.suggest import suggested
from tests.mistakes.catalogue import FAMILIES
from tests.mistakes.registry import Mistake

SETTLED = frozenset({"wrong", "is_wrong"})
MOST_SYNTAX = 12  # pieces of syntax that a single edit may take away and put in: (1 - y**2) for 1 is seven
DEEPER_SEEDS = (101, 202)


class _Settled(ast.NodeTransformer):
    """Replaces in every function that is told whether to make the mistake what depends on that."""

    def __init__(self, wrong: bool) -> None:
        self.wrong, self.names = wrong, [frozenset[str]()]

    def _function(self, node: Any) -> Any:
        args = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
        self.names.append((self.names[-1] | (args & SETTLED)) - (set() if args & SETTLED else args))
        self.generic_visit(node)
        self.names.pop()
        return node

    visit_FunctionDef = visit_Lambda = _function

    def visit_Name(self, node: ast.Name) -> ast.expr:
        settled = isinstance(node.ctx, ast.Load) and node.id in self.names[-1]
        return ast.copy_location(ast.Constant(self.wrong), node) if settled else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        value = _constant(node.operand)
        return ast.Constant(not value) if isinstance(node.op, ast.Not) and value is not None else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        value = _constant(node.test)
        return node if value is None else node.body if value else node.orelse

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        value = _constant(node.test)
        return node if value is None else (node.body if value else node.orelse) or ast.Pass()


def _constant(node: ast.expr) -> bool | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, bool) else None


def written_out(family: ModuleType, wrong: bool, folder: Path) -> ModuleType:
    """The module of a family of mistakes in which all are made, or none."""
    tree = ast.parse(Path(str(family.__file__)).read_text(encoding="utf-8"))
    name = f"{family.__name__.rpartition('.')[2]}_{'wrong' if wrong else 'sound'}"
    path = folder / f"{name}.py"
    path.write_text(ast.unparse(ast.fix_missing_locations(_Settled(wrong).visit(tree))), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Row:
    """A mistake in the file where it is made, and in the one where it is not."""

    wrong: Mistake
    sound: Mistake

    def call(self, inputs: Any = None, seed: int = 0) -> Call:
        """The call that a user would check."""
        given = deepcopy(self.wrong.inputs) if inputs is None else inputs
        asked = {name: value for name, value in self.wrong.check_options.items() if name != "probes"}
        return Call(given, dict(self.wrong.options), seed=seed, **asked)


def rows(folder: Path) -> Iterator[Row]:
    """All planted mistakes, written out."""
    for family in FAMILIES:
        both = [written_out(family, wrong, folder) for wrong in (True, False)]
        yield from (Row(*pair) for pair in zip(both[0].ROWS, both[1].ROWS, strict=True))


def difference(one: ast.AST, other: ast.AST) -> int | None:
    """How many pieces of syntax the only place where two trees differ takes away and puts in; None for several places."""
    if ast.dump(one) == ast.dump(other):
        return 0
    if type(one) is type(other):
        children = [list(ast.iter_child_nodes(each)) for each in (one, other)]
        if len(children[0]) == len(children[1]):
            differing = [(a, b) for a, b in zip(*children, strict=True) if ast.dump(a) != ast.dump(b)]
            if len(differing) == 1:
                return difference(*differing[0])
    sizes = [sum(1 for _ in ast.walk(each)) for each in (one, other)]
    shared = max((sum(1 for _ in ast.walk(each)) for each in ast.walk(one) if _holds(other, each)), default=0)
    return sum(sizes) - 2 * shared


def _holds(tree: ast.AST, part: ast.AST) -> bool:
    text = ast.dump(part)
    return any(ast.dump(each) == text for each in ast.walk(tree))


def is_single_edit(row: Row) -> bool:
    """Whether the functions of the wrong backward differ from the sound ones in one place by a few pieces of syntax."""
    try:
        written = [written_of(each) for each in (row.wrong.wrong(), row.sound.sound())]
    except InvalidArgument:
        return False
    sources = [[source_of(each.function) for each in functions] for functions in written]
    if len(sources[0]) != len(sources[1]) or any(each is None for each in (*sources[0], *sources[1])):
        return False
    changes = []
    for one, other in zip(*sources, strict=True):
        changes.append(difference(_body(one), _body(other)))
    differing = [each for each in changes if each]
    return len(differing) == 1 and differing[0] <= MOST_SYNTAX


def _body(source: Source) -> ast.AST:
    """What a function does, without its name and its arguments."""
    node = source.node
    if isinstance(node, cst.Lambda):
        return ast.parse(f"({source.module.code_for_node(node.body)})")
    tree = ast.parse(source.module.code_for_node(node.with_changes(leading_lines=(), decorators=())))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    return ast.Module(function.body, [])


def is_right(row: Row, subject: Any, suggestion: Suggestion) -> bool:
    """Whether the mended subject passes on other seeds and values."""
    edit = Edit("", "", suggestion.path, suggestion.line, Path(suggestion.path).read_text(), mended(suggestion))
    with applied(edit):
        for seed in DEEPER_SEEDS:
            for inputs in (row.wrong.inputs, other_values(deepcopy(row.wrong.inputs), seed)):
                call = row.call(deepcopy(inputs), seed)
                try:
                    report = call.check(subject)
                    sound = call.check(row.sound.sound())
                except InvalidArgument:
                    continue
                if report.verdict == "fail" and sound.verdict != "fail":
                    return False
    return True


def mended(suggestion: Suggestion) -> str:
    """The text of the file after a suggestion, by its diff."""
    lines = Path(suggestion.path).read_text().splitlines()
    result, at = [], 0
    for line in suggestion.diff.splitlines()[2:]:
        if line.startswith("@@"):
            start = int(line.split()[1].split(",")[0][1:]) - 1
            result += lines[at:start]
            at = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            if not line.startswith("-"):
                result.append(line[1:])
            at += 1
    return "\n".join([*result, *lines[at:]]) + "\n"


def measured(row: Row, seconds: float) -> dict[str, Any]:
    """What is suggested for one mistake, and whether that is right."""
    subject = row.wrong.wrong()
    call = row.call()
    report = call.check(subject)
    started = time.perf_counter()
    busy = time.process_time()
    found: Suggested = suggested(subject, call, report, seconds=seconds, most=1)
    took, busy = time.perf_counter() - started, time.process_time() - busy
    best = found.suggestions[0] if found.suggestions else None
    verdict = "none" if best is None else "right" if not best.diff or is_right(row, subject, best) else "wrong"
    change = "" if best is None else " ".join(best.kinds) + ": " + (best.after or " ".join(best.expressions))
    return {"name": str(row.wrong), "verdict": verdict, "seconds": took, "cpu": busy, "tried": found.tried,
            "finished": found.finished, "edit": bool(best and best.diff), "change": change, "why": found.why}  # fmt: skip


def main() -> None:
    """Print a line for each mistake, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1, help="take every n-th mistake")
    parser.add_argument("--first", type=int, default=0, help="leave out those before this one")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [row for row in rows(Path(folder)) if is_single_edit(row) and arguments.only in str(row.wrong)]
        print(f"{len(chosen)} single-edit mistakes")
        results = []
        for row in chosen[arguments.first :: arguments.every]:
            try:
                result = measured(row, arguments.seconds)
            except InvalidArgument as error:
                print("  refused", row.wrong, error)
                continue
            results.append(result)
            print(f"  {result['verdict']:5} {result['seconds']:6.1f} s {result['cpu']:5.1f} cpu {result['tried']:5} tried  "
                  f"{result['name']}  {result['change']}", flush=True)  # fmt: skip
    passing = [each for each in results if each["verdict"] == "right"]
    wrong = [each for each in results if each["verdict"] == "wrong"]
    share = len(passing) / max(1, len(results))
    print(f"first suggestion right: {len(passing)} of {len(results)}, {share:.0%}; wrong: {len(wrong)}")
    print(f"median seconds: {statistics.median(each['seconds'] for each in results):.1f}, of those mended: "
          f"{statistics.median([each['seconds'] for each in passing] or [0]):.1f}")  # fmt: skip
    print(f"median seconds of the processor: {statistics.median(each['cpu'] for each in results):.1f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
