"""The example in every op's docstring runs: pytest looks for them in functions and classes, and an op is neither."""

import doctest

import pytest

from gradcheck_lab import ops
from gradcheck_lab.rules.op import Op

EVERY = tuple(op for family in ops.FAMILIES.values() for op in family)


@pytest.mark.parametrize("op", EVERY, ids=lambda op: op.name)
def test_example_of_an_op_runs(op: Op) -> None:
    found = doctest.DocTestFinder().find(op.forward, op.name, globs={**op.forward.__globals__})
    assert [test for test in found if test.examples], f"{op.name} has no example"
    said: list[str] = []
    for test in found:
        doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)
