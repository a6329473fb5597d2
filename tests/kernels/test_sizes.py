"""Sizes are chosen beside the blocks of interpreted kernels."""

import pytest

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import gradcheck_lab as gl
from gradcheck_lab.kernels.launches import Launch
from gradcheck_lab.probes.support.kernel_calls import differing_sizes
from tests.triton_kernels.products import rotary, turned_in_torch
from tests.triton_kernels.rows import cumulative_sum, normal


def test_each_dimension_is_one_longer_than_a_block_then_one_shorter_then_as_long() -> None:
    launches = [Launch("kernel", {"BLOCK": 8, "STAGES": 1, "LONG": 1024}, (1, 1, 1), 1)]
    chosen = list(differing_sizes(launches, {"3": 3, "7": 7}))
    assert chosen == [("7", 9), ("3", 9), ("3", 7), ("7", 8), ("3", 8)]


@pytest.mark.thorough
def test_what_is_wrong_beyond_one_block_is_found_from_a_call_within_it() -> None:
    report = gl.check(cumulative_sum("no carry"), normal(2, 3), reference=lambda x: x.cumsum(-1), probes={"sizes"})
    (finding,) = [each for each in report.findings if each.severity == "error"]
    assert finding.cause == "size-specialised", report
    assert gl.check(cumulative_sum(""), normal(2, 3), reference=lambda x: x.cumsum(-1), probes={"sizes"}).verdict == "pass"


def test_a_table_half_as_wide_stays_so() -> None:
    angles = normal(3, 4)
    report = gl.check(
        rotary(""), normal(2, 3, 8), angles.cos(), angles.sin(), wrt=["x"], reference=turned_in_torch, probes={"kernel_memory"}
    )
    assert (report.verdict, report.findings) == ("pass", ()), report
