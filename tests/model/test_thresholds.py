"""Every number that decides stands once, in a table, with its reason and the planted pair that fixes it."""

import ast
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gradcheck_lab.model import amounts, limits
from gradcheck_lab.model.precision import budget, derived_calls, fits, kinks, numbers, patterns
from gradcheck_lab.model.precision.threshold import Threshold
from tests.mistakes.planted import PLANTED
from tests.package_trees import trees

WINGS = ("comparison", "diagnosis", "oracles", "probes", "examination")
PLAIN = frozenset({0.0, 1.0, 0.5, 2.0})
TABLES = (budget, derived_calls, fits, kinks, numbers, patterns)
MODULES = {table.__name__ for table in (*TABLES, limits, amounts)}
THRESHOLDS = {name: row for table in TABLES for name, row in vars(table).items() if isinstance(row, Threshold)}
LIMITS = {name: row for name, row in vars(limits).items() if isinstance(row, limits.Limit)}
AMOUNTS = {name: row for name, row in vars(amounts).items() if isinstance(row, amounts.Amount)}
PAIRED = {name: row for name, row in THRESHOLDS.items() if row.mistake is not None}
# thresholds that no planted one fixes yet, and what was tried; a row that gets its pair has to leave
UNPAIRED = {
    "STEADY_AT_KINK": "its pair draws its calls itself, in tests/oracles/autograd/test_subgradients_of_two_layers.py",
    "STEADY_APART": "its pair draws its calls itself, in tests/oracles/autograd/test_subgradients_of_two_layers.py",
    "OWN_DTYPE_ROUNDINGS": "its pair draws its seeds itself, in tests/mistakes/test_other_seeds.py",
    "CANCELLATION": "the planted ones and the once flagged calls are settled by cheaper references whatever it is",
    "CALM": "two rows of elements at their kinks, in float32, keep their outcome",
    "LESS_THAN_AGREEMENT": "it decides between an inconclusive verdict and a failure, which no row can state",
    "CANCELLED": "the epsilon of normalised rows keeps its name",
    "ON_A_LINE": "the epsilons of RMS and layer norm keep their name: the noise of their residual allows as much",
    "ON_A_LINE_AT_MOST": "the epsilons of RMS and layer norm keep their name: their noise is far below it",
    "LIMIT_ERROR": "a value off by 3e-3 where two kinks cancel is admitted all the same, by intermediates that are moved",
    "INSIDE_ROUNDING": "the once flagged call of two kinks passes whatever it is",
    "SAME_GRADIENTS": "it decides which mutants count, and no verdict of a check",
    "SOLVED": "Newton's method leaves a rounding or does not converge: a looser or tighter bound names the same sigmoids",
    "NEARLY_ZERO": "ties, a cube near zero and squares that cancel keep their outcome",
    "SHRINKING_CHANGES": "forwards computed number by number, smooth and stepped, keep their outcome",
    "JUMP_STAYS": "forwards computed number by number, bent and stepped, keep their outcome",
    "JUMP_ABOVE_NOISE": "forwards computed number by number, bent and stepped, keep their outcome",
    "AS_EXACT": "gradients that cancel to nothing agree with numbers to their own rounding whatever it is",
    "LIFTED_ROUNDINGS": "a cast inside and one at the end keep their outcome: their values agree to two roundings",
    "CERTAIN_DIFFERENCES": "powers and real parts in NumPy, off by 5e-13, keep their outcome",
    "CERTAIN_NEAR_ZERO": "hyperbolic tangents and real parts in NumPy keep their outcome",
    "MAPPED": "a softmax over the first axis and the once flagged leading dimension keep their outcome",
    "MAPPED_NEAR_ZERO": "a softmax over the first axis keeps its outcome",
    "EXACT_POWER": "factors left out of a quotient and of a gate keep their name: their logarithms agree to rounding",
    "SPIKE": "its pair draws its calls itself, in tests/probes/test_sizes_without_meaning.py",
    "SMOOTH_SIGNS": "planted low precision and epsilons keep their name: a value that was rounded is found by trying that",
    "CHANCE_DIGITS": "missing terms, epsilons and constant factors keep their name: a second draw has to give the same cause",
    "CONSTANT_ROUNDINGS": "constant factors in every form keep their name: a second draw has to give the same factor",
    "CONSTANT_ROUNDINGS_16_BITS": "constant factors in every form keep their name: a second draw has to give the same factor",
    "SCALE_DEVIATIONS": "constant factors near one keep their outcome: their elements are beyond their own budget as well",
    "ZERO_SECOND_ORDER": "planted second derivatives are rows of another table, which was not tried",
}
# far stricter and far looser, on either side
MOVES = (1e-9, 1e-3, 1e3, 1e7)


def modules() -> Iterator[tuple[str, ast.Module]]:
    yield from ((place, tree) for place, tree in trees().items() if place.split("/")[0] in WINGS)


def is_bare(node: ast.expr | None) -> bool:
    """Whether an expression is made of numbers alone."""
    inner = [n for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Call, ast.Attribute, ast.Dict))] if node else [node]
    held = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)] if node else []
    return not inner and bool(held) and all(type(value) in (int, float) for value in held)


def test_no_number_that_decides_stands_outside_of_the_tables() -> None:
    found = [
        f"{name}:{node.lineno}: {node.value}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value not in PLAIN
    ]
    assert found == [], "give each a row in gradcheck_lab/model/precision, or in limits.py or amounts.py beside it"


def test_no_module_constant_holds_a_bare_number() -> None:
    found = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, tree in modules()
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and is_bare(node.value)
    ]
    assert found == [], "give each a row in gradcheck_lab/model/precision, or in limits.py or amounts.py beside it"


def test_every_row_is_read_somewhere_and_only_when_called() -> None:
    rows = {*THRESHOLDS, *LIMITS, *AMOUNTS}
    read: set[str] = set()
    for place, tree in trees().items():
        if {"precision", "limits.py", "amounts.py"} & {*place.split("/")}:
            continue
        bodies = [node.body for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        called = {id(node) for body in bodies for statement in body for node in ast.walk(statement)}
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module in MODULES]
        own = {alias.name for node in imports for alias in node.names} & rows
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in own]
        early = [f"{node.id} in line {node.lineno}" for node in used if id(node) not in called]
        assert early == [], f"{place} reads these at import, where a test cannot move them"
        read |= {node.id for node in used}
    assert rows - read == set(), "rows that nothing reads"


@pytest.mark.parametrize("name", [*THRESHOLDS, *LIMITS, *AMOUNTS])
def test_row_says_why_in_a_sentence(name: str) -> None:
    why = {**THRESHOLDS, **LIMITS, **AMOUNTS}[name].why
    assert re.fullmatch(r"[A-Z1-9].*\.", why), f"{name}: {why}"
    assert len(why.split()) >= 6, f"{name}: {why}"


def test_planted_pairs_exist_and_are_a_mistake_and_another() -> None:
    for name, row in PAIRED.items():
        assert row.mistake in PLANTED, f"{name}: no planted mistake {row.mistake!r}"
        assert row.twin in PLANTED, f"{name}: no planted twin {row.twin!r}"
        assert PLANTED[row.mistake].cause is not None, f"{name}: {row.mistake!r} is sound"
        assert row.twin != row.mistake, name


def test_rows_without_a_planted_pair_are_those_that_are_known() -> None:
    assert set(THRESHOLDS) - set(PAIRED) == UNPAIRED.keys()


@contextmanager
def moved(row: Threshold, value: float) -> Iterator[None]:
    kept = row.value
    object.__setattr__(row, "value", value)
    try:
        yield
    finally:
        object.__setattr__(row, "value", kept)


@pytest.mark.thorough
@pytest.mark.parametrize("name", PAIRED)
def test_planted_pair_fixes_the_number(name: str) -> None:
    row = PAIRED[name]
    assert row.mistake is not None
    assert row.twin is not None
    pair = PLANTED[row.mistake], PLANTED[row.twin]
    assert all(planted.holds() for planted in pair)
    assert math.isfinite(row.value)
    changes = [(row.value * move, planted) for move in MOVES for planted in pair]
    for value, planted in changes:
        with moved(row, value):
            if not planted.holds():
                return
    pytest.fail(f"{row.mistake!r} and {row.twin!r} say the same with {name} anywhere from {changes[0][0]} to {changes[-1][0]}")
