"""What a dtype can resolve, asked in one place."""

import ast

import pytest
import torch

from gradcheck_lab.model.precision import bits, is_narrow, is_wide, wide_dtype, widened
from tests.package_trees import trees

HOME = "model/precision/__init__.py"


@pytest.mark.parametrize(
    ("dtype", "wide", "count"),
    [
        (torch.bfloat16, torch.float64, 16),
        (torch.float16, torch.float64, 16),
        (torch.float32, torch.float64, 32),
        (torch.float64, torch.float64, 64),
        (torch.complex64, torch.complex128, 32),
        (torch.complex128, torch.complex128, 64),
    ],
)
def test_dtypes_say_how_wide_they_are(dtype, wide, count):
    assert (wide_dtype(dtype), bits(dtype)) == (wide, count)
    assert (is_narrow(dtype), is_wide(dtype)) == (count == 16, count == 64)
    assert widened(torch.zeros(2, dtype=dtype)).dtype == wide


def test_whole_numbers_are_neither_narrow_nor_wide():
    assert not any(ask(dtype) for ask in (is_narrow, is_wide) for dtype in (torch.int16, torch.int64, torch.bool))


def test_only_one_place_asks_how_many_bits_a_dtype_has():
    def asks(node):
        choice = isinstance(node, ast.IfExp) and {ast.unparse(node.body), ast.unparse(node.orelse)}
        return choice == {"torch.complex128", "torch.float64"} or (isinstance(node, ast.Attribute) and node.attr == "bits")

    found = {
        f"{place}:{node.lineno}" for place, tree in trees().items() if place != HOME for node in ast.walk(tree) if asks(node)
    }
    assert not found, f"use model.precision: {sorted(found)}"
