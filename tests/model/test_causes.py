"""The table of causes: every row says what it is, every trait is asked for, and nothing about causes is known elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from typing import get_args

import pytest

from gradcheck_lab.model.causes import CAUSES, ERRORS, having
from gradcheck_lab.model.traits import TRAITS, Cause, Trait
from gradcheck_lab.subjects import operator_checks
from tests.package_trees import trees

HOME = "model/causes.py"
PRODUCERS = ("Finding", "Explanation", "_finding")


def named(nodes: Iterable[ast.AST | None]) -> set[str]:
    """The causes among strings that are written out, each by itself or in a text that is to be split."""
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {word for text in texts for word in text.split() if word in CAUSES}


def lists_causes(node: ast.AST) -> bool:
    """Whether a literal holds several causes: as its elements, its keys, or a text that is to be split."""
    if isinstance(node, ast.Set | ast.Tuple | ast.List):
        return len(named(node.elts)) > 1
    return len(named(node.keys if isinstance(node, ast.Dict) else [node])) > 1


def trees_but_the_table() -> Iterator[tuple[str, ast.Module]]:
    yield from ((place, tree) for place, tree in trees().items() if place != HOME)


@cache
def asked() -> dict[str, str]:
    """The traits that the package asks for, with a file that does."""
    found = {}
    for name, tree in trees_but_the_table():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "having":
                assert isinstance(node.args[0], ast.Constant), f"{name}:{node.lineno}: the trait is not written out"
                found[str(node.args[0].value)] = name
    return found


def produced() -> Iterator[tuple[str, str]]:
    """The causes in literal findings and explanations, and where."""
    for name, tree in trees_but_the_table():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            made = isinstance(node.func, ast.Name) and node.func.id in PRODUCERS
            first = node.args[:1] if made else []
            given = [keyword.value for keyword in node.keywords if keyword.arg == "cause"]
            for value in (*first, *given):
                if isinstance(value, ast.Constant):
                    yield str(value.value), f"{name}:{node.lineno}"


@pytest.mark.parametrize("row", CAUSES.values(), ids=list(CAUSES))
def test_row_says_what_is_wrong_and_what_to_do(row: Cause) -> None:
    for text in (row.sentence, row.fix):
        assert len(text.split()) > 1, row
        assert text == text.strip().rstrip("."), row
    assert row.traits <= set(get_args(Trait)), row
    for related in (row.compared_as, row.probed_as):
        assert related <= set(CAUSES), row
        assert row.name not in related, row


def test_names_are_unique() -> None:
    rows = [n for n in ast.walk(trees()[HOME]) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "_row"]
    assert len(rows) == len(CAUSES)


@pytest.mark.parametrize("trait", get_args(Trait))
def test_trait_says_what_it_means_is_had_and_is_asked_for(trait: Trait) -> None:
    assert len(TRAITS[trait].split()) > 4
    assert having(trait), f"no cause has the trait {trait}"
    assert trait in asked(), f"nothing asks for the trait {trait}"


def test_traits_are_as_many_as_are_asked_for() -> None:
    assert set(asked()) == set(TRAITS) == set(get_args(Trait))


def test_every_cause_that_the_code_names_is_a_row() -> None:
    found = list(produced())
    assert len(found) > 60
    assert [each for each in found if each[0] not in CAUSES] == []


def test_every_row_is_named_by_the_code() -> None:
    texts = {node.value for _, tree in trees_but_the_table() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert set(CAUSES) <= texts


def test_notes_and_errors_are_all_causes() -> None:
    assert {name for name, row in CAUSES.items() if row.severity == "note"} == set(CAUSES) - ERRORS


def test_reasons_that_a_probe_finds_are_errors() -> None:
    for trait in ("explains", "overrules", "pattern", "consequence", "unexplained"):
        assert having(trait) <= ERRORS
    assert having("overrules") <= having("explains")
    assert not having("unexplained") & having("explains")


def test_nothing_about_causes_is_known_outside_of_the_table() -> None:
    """No list of causes stands in the code, and no branch lists some: a trait or a relation of the table says it."""
    found = []
    for name, tree in trees_but_the_table():
        assigned = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None]
        plain = [value for value in assigned if not isinstance(value, ast.Subscript)]  # a type
        found += [f"{name}:{value.lineno}" for value in plain if any(map(lists_causes, ast.walk(value)))]
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and "cause" in {getattr(node.left, "attr", ""), getattr(node.left, "id", "")}:
                found += [f"{name}:{node.lineno}: {ast.unparse(node)}" for each in node.comparators if lists_causes(each)]
    assert found == []


def test_operator_checks_say_known_causes() -> None:
    for test in (*operator_checks.STATIC, operator_checks.COMPILED):
        assert operator_checks._classify(test, RuntimeError())[0] in CAUSES
