"""Sizes are chosen beside the blocks of interpreted kernels."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import gradcheck_lab as gl
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.dimensions import dimensions_of
from gradcheck_lab.kernels.launches import MONITOR, Division, Launch, Seen, Watching
from gradcheck_lab.kernels.starting import install_where_interpreting
from gradcheck_lab.probes.support.kernel_calls import beside_blocks, differing_sizes
from tests.kernels import small
from tests.triton_kernels.products import rotary, turned_in_torch
from tests.triton_kernels.rows import cumulative_sum, normal


def test_each_dimension_is_one_longer_than_a_block_then_one_shorter_then_as_long() -> None:
    seen = Seen([Launch("kernel", {"BLOCK": 8, "STAGES": 1, "LONG": 1024}, (1, 1, 1), 1)])
    chosen = list(differing_sizes(seen, {"3": 3, "7": 7}))
    assert chosen == [("7", 9), ("3", 9), ("3", 7), ("7", 8), ("3", 8)]


def test_what_is_divided_is_beside_a_block_and_beside_two() -> None:
    seen = Seen(divisions=[Division(7, 8)])
    assert list(differing_sizes(seen, {"3": 3, "7": 7})) == [("7", 9), ("7", 8), ("7", 17), ("7", 15), ("7", 16)]


def test_a_product_that_is_divided_is_made_longer_than_a_block_by_each_of_its_parts() -> None:
    seen = Seen(divisions=[Division(21, 32)])
    chosen = list(differing_sizes(seen, {"2": 2, "3": 3, "7": 7}))
    assert chosen[:4] == [("7", 11), ("3", 5), ("7", 10), ("3", 4)]


def test_a_size_that_no_dimension_has_is_that_of_each() -> None:
    seen = Seen(divisions=[Division(11, 4)])
    assert list(differing_sizes(seen, {"3": 3, "7": 7}))[:3] == [("7", 5), ("3", 5), ("7", 3)]


def test_a_block_that_only_the_grid_tells_is_seen() -> None:
    install_where_interpreting()
    x = torch.arange(5.0, requires_grad=True)
    with MONITOR.watch(Watching()) as seen:
        small.square(False).apply(x).sum().backward()
    assert (seen.divisions, seen.blocks) == ([Division(5, 64)], {64})


@pytest.mark.thorough
def test_what_is_wrong_beyond_a_block_that_only_the_grid_tells_is_found() -> None:
    report = gl.check(small.square(True), normal(5), reference=torch.square, probes={"sizes"})
    (finding,) = [each for each in report.findings if each.severity == "error"]
    assert (finding.cause, "sizes beside a kernel's block" in finding.case) == ("size-specialised", True), report
    assert gl.check(small.square(False), normal(5), reference=torch.square, probes={"sizes"}).verdict == "pass"


@pytest.mark.thorough
def test_what_is_wrong_beyond_one_block_is_found_from_a_call_within_it() -> None:
    report = gl.check(cumulative_sum("no carry"), normal(2, 3), reference=lambda x: x.cumsum(-1), probes={"sizes"})
    (finding,) = [each for each in report.findings if each.severity == "error"]
    assert finding.cause == "size-specialised", report
    assert gl.check(cumulative_sum(""), normal(2, 3), reference=lambda x: x.cumsum(-1), probes={"sizes"}).verdict == "pass"


def test_what_is_related_to_a_related_dimension_changes_with_it() -> None:
    inputs = normal(5, 2, 8), normal(5, 4)  # two heads of eight, and a table of half of that: twice two by chance
    dims, context = dimensions_of(inputs, ()), SimpleNamespace(case=Case(inputs, {}))
    seen = Seen([Launch("kernel", {"BLOCK": 4}, (1, 1, 1), 1)])
    sizes = list(beside_blocks(context, dims, seen))  # type: ignore[arg-type]
    assert {"5": 5, "2": 4, "8": 16, "4": 8} in sizes
    assert all(each["8"] == 2 * each["4"] for each in sizes)


def test_a_table_half_as_wide_stays_so() -> None:
    angles = normal(3, 4)
    report = gl.check(
        rotary(""), normal(2, 3, 8), angles.cos(), angles.sin(), wrt=["x"], reference=turned_in_torch, probes={"kernel_memory"}
    )
    assert (report.verdict, report.findings) == ("pass", ()), report
