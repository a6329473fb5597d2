"""The options probe names the cause of planted mistakes, and leaves their sound twins alone."""

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.case import ordinary_call
from gradcheck_lab.op import Op
from tests.mistakes.values import ROWS, Row

CAUSES = frozenset("option-specialised".split())
MINE = [row for row in ROWS if row.cause in CAUSES and row.name != "empty-first-element"]
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("row", MINE, ids=lambda row: row.name)
def test_planted_mistake_is_named(row: Row) -> None:
    wrong, _, inputs, options = row.make()
    report = gl.check(wrong, *inputs, options=options, probes={"options"})
    assert row.cause in {f.cause for f in report.findings if f.severity == "error"}, report


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sound_twin_passes(row: Row) -> None:
    _, sound, inputs, options = row.make()
    report = gl.check(sound, *inputs, options=options, probes={"options"})
    assert report.verdict == "pass", report
    assert all(f.severity == "note" for f in report.findings), report


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", [op for family in ops.FAMILIES.values() for op in family], ids=lambda op: op.name)
def test_own_op_passes_in_every_dtype(op: Op, dtype: torch.dtype) -> None:
    case = ordinary_call(op, op.specs, 1, dtype=dtype)
    report = gl.check(op, *case.inputs, options=case.options, probes={"options"})
    assert report.verdict == "pass", report
    assert all(f.severity == "note" for f in report.findings), report
