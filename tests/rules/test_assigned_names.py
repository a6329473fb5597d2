"""The names that an op's results are assigned to, also in code whose source nobody has."""

from __future__ import annotations

from typing import Any

import pytest

from gradcheck_lab.rules.naming import assigned_names

STATEMENTS = {
    "one": ("Z1 = call()", ("Z1",)),
    "unpacked": ("mean, rstd = call()", ("mean", "rstd")),
    "annotated": ("Z1: tuple = call()", ("Z1",)),
    "nested": ("Z1 = [call()]", ()),
    "attribute": ("call.Z1 = call()", ()),
}
ENGINE = """
def call():
    found.append(assigned_names())
    return None, None
"""


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("template", ["{}", "def f(call):\n    {}\nf(call)"], ids=["module", "function"])
def test_names_are_found_in_code_without_source(name: str, template: str) -> None:
    statement, expected = STATEMENTS[name]
    engine: dict[str, Any] = {"__name__": "gradcheck_lab.rules.op", "found": [], "assigned_names": assigned_names}
    exec(ENGINE, engine)
    exec(compile(template.format(statement), "<nowhere>", "exec"), {"call": engine["call"]})
    assert engine["found"] == [expected]
