"""Functions that the ranks compute together: sound ones pass, and each mistake is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed.nn.functional
from torch import distributed

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.distributed.written import (
    OF_FOUR_RANKS,
    ROWS,
    Copy,
    CopyInPlace,
    CopyReducedTwice,
    CopyWithoutReduction,
    Gather,
    ReduceInPlace,
    Row,
)


def of_two_ranks() -> Iterator[Any]:
    """Every mistake; in the ordinary lane the first of each function, and the first of each cause."""
    seen = set[str]()
    for row in ROWS:
        for k, (mistake, (wrong, cause)) in enumerate(row.mistakes.items()):
            if (row.name, mistake) in OF_FOUR_RANKS:
                continue
            marks = [] if k == 0 or cause not in seen else [pytest.mark.thorough]
            seen.add(cause)
            yield pytest.param(row, wrong, cause, id=f"{row.name}-{mistake}".replace(" ", "_"), marks=marks)


OF_MANY = [
    pytest.param(row, wrong, cause, id=f"{row.name}-{mistake}".replace(" ", "_"))
    for row in ROWS
    for mistake, (wrong, cause) in row.mistakes.items()
]
# their derived calls are made in the ordinary lane too: one for each way in which a gradient goes from rank to rank
PROBED = ("copy to region", "gather and reduce-scatter", "sequence all-to-all")
AT_RANKS = {"needs-input-grad", "stale-state", "upstream-layout"}  # not seen on the one call alone


def checked(row: Row, function: Any, ranks: int = 2, **arguments: Any) -> Report:
    arguments.setdefault("reference", row.reference(ranks))
    return gl.check_distributed(function, *row.specs, world_size=ranks, placement=row.placement, timeout=60, **arguments)


def causes(report: Report) -> set[str]:
    return {finding.cause for finding in report.findings if finding.severity == "error"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_sound_function_passes(row: Row) -> None:
    report = checked(row, row.sound, probes=row.name in PROBED)
    assert report.verdict == "pass", report
    assert report.kind == "distributed"
    assert not [finding for finding in report.findings if finding.severity != "note"]


@pytest.mark.parametrize(("row", "function", "cause"), [*of_two_ranks()])
def test_mistake_is_found_and_named(row: Row, function: Any, cause: str) -> None:
    report = checked(row, function, probes=cause in AT_RANKS)
    assert report.verdict == "fail"
    assert not cause or causes(report) == {cause}, report


@pytest.mark.thorough
@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_sound_function_passes_with_all_derived_calls(row: Row, ranks: int) -> None:
    assert checked(row, row.sound, ranks).verdict == "pass"


@pytest.mark.thorough
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_sound_function_is_its_own_adjoint_map(row: Row) -> None:
    report = checked(row, row.sound, reference=None)
    assert report.verdict == "pass", report
    assert report.oracle == "the adjoint of the ranks' own forward, by central differences in float64"


@pytest.mark.thorough
@pytest.mark.parametrize(("row", "function", "cause"), OF_MANY)
def test_mistake_is_found_on_four_ranks(row: Row, function: Any, cause: str) -> None:
    report = checked(row, function, 4)
    assert report.verdict == "fail"
    assert not cause or causes(report) == {cause}, report


@pytest.mark.thorough
@pytest.mark.parametrize(("row", "function", "cause"), OF_MANY)
def test_mistake_is_found_without_a_reference(row: Row, function: Any, cause: str) -> None:
    assert checked(row, function, 4, reference=None).verdict == "fail"


IN_PLACE = {
    "mutates-grad-output": (CopyInPlace, {"output": "replicate:partial"}, "grad_output was written to on ranks 0 and 1"),
    "mutates-input": (ReduceInPlace, {"x": "partial"}, "input 0 'x' was written to on ranks 0 and 1"),
}


@pytest.mark.parametrize(("cause", "row"), IN_PLACE.items())
def test_collective_in_place_is_a_warning(cause: str, row: tuple[Any, Any, str]) -> None:
    function, placement, message = row
    report = gl.check_distributed(function, "real('n d')", placement=placement, reference=torch.clone, probes=False)
    assert report.verdict == "pass", report
    assert [(each.cause, each.severity, each.message) for each in report.findings] == [(cause, "warning", message)]


def test_layer_of_collectives_in_place_passes_where_each_has_its_tensors_for_itself() -> None:
    def mlp(x: torch.Tensor, w: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return ReduceInPlace.apply(torch.tanh(CopyInPlace.apply(x) @ w.T) @ v.T)

    report = gl.check_distributed(
        mlp, "real('n d')", "real('h d')", "real('k h')", placement={"w": "shard:0", "v": "shard:1"},
        reference=lambda x, w, v: torch.tanh(x @ w.T) @ v.T,
    )  # fmt: skip
    assert report.verdict == "pass", report


def test_collective_in_place_is_wrong_where_grad_output_is_not_contiguous() -> None:
    report = gl.check_distributed(
        CopyInPlace, "real('n d')", placement={"output": "shard:0"}, reference=lambda x: torch.cat([x, x])
    )
    assert causes(report) == {"upstream-layout"}


COPIES = {"": Copy, "missing-reduction": CopyWithoutReduction, "reduced-twice": CopyReducedTwice}


@pytest.mark.parametrize(("cause", "function"), COPIES.items())
def test_copy_whose_output_each_rank_uses_for_something_else(cause: str, function: Any) -> None:
    report = gl.check_distributed(
        function, "real('n d')", placement={"output": gl.Replicate("partial")}, reference=torch.clone, probes=False
    )
    assert causes(report) == ({cause} if cause else set()), report


def test_output_that_is_whole_on_each_rank_and_is_placed_as_terms_says_so() -> None:
    report = gl.check_distributed(Copy, "real('n d')", placement={"output": gl.Partial()}, reference=torch.clone, probes=False)
    (found,) = (finding for finding in report.findings if finding.severity == "error")
    assert found.explanation == "each rank holds all of it, and as terms of a sum they add up to 2 times it"
    fix = "its placement is Replicate(), or Replicate('partial') where each rank uses it for something else"
    assert found.suggestion == fix


def test_collective_of_torch_whose_loss_is_the_sum_of_all_ranks_is_sound_by_its_own_convention() -> None:
    collective, x = torch.distributed.nn.functional.all_reduce, {"x": "partial"}
    for output, cause in (("replicate:partial", set()), ("replicate", {"reduced-twice"})):
        report = gl.check_distributed(
            lambda x: collective(x), "real('n d')", placement={**x, "output": output}, reference=torch.clone, probes=False
        )
        assert causes(report) == cause, report


@pytest.mark.thorough
@pytest.mark.parametrize(("cause", "copy"), [("missing-reduction", CopyWithoutReduction), ("reduced-twice", CopyReducedTwice)])
def test_mistake_in_a_large_gradient_is_named_without_a_reference(cause: str, copy: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 24, dtype=torch.float64, generator=generator) for n in (12, 8))
    report = gl.check_distributed(
        lambda x, w: copy.apply(x) @ w.T, x, w, placement={"w": "shard:0", "output": "shard:1"}, probes=False
    )
    assert causes(report) == {cause}, report


class GatherOfSixColumns(Gather):
    """Cuts what each rank has of six columns."""

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        columns = 6 // distributed.get_world_size()
        found = grad_output.new_zeros(grad_output.shape[0], grad_output.shape[1] // distributed.get_world_size())
        mine = grad_output[:, distributed.get_rank() * columns :][:, : found.shape[1]]
        found[:, : mine.shape[1]] = mine
        return found


def test_gradient_that_is_right_at_one_size_is_seen_at_another() -> None:
    report = gl.check_distributed(GatherOfSixColumns, "real('n d')", placement={"x": "shard:1"}, reference=torch.clone)
    assert causes(report) == {"size-specialised"}, report
