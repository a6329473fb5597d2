"""A rank that raises, ends or does not come back is named, with the line that it was in; then all ranks have ended."""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.distributed.written import Copy, Reduce, all_gathered, all_reduced, here

PARTIAL = {"x": "partial"}


def report_of(function: Any, placement: Any = None, **arguments: Any) -> Report:
    return gl.check_distributed(function, "real('n d')", placement=placement, probes=False, **arguments)


def lines(report: Report) -> list[str]:
    """The report without what differs between machines: places, line numbers and the line that makes the call again."""
    text = re.sub(r"\S*/test_ranks.py:\d+", "test_ranks.py", str(report))
    text = re.sub(r"\S*/written.py:\d+", "written.py", text)
    return [line.strip() for line in text.splitlines() if "reproduce:" not in line]


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pids of the ranks and of what they start are written down; none of them lives on, and no file is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {each.pid for each in multiprocessing.active_children()}
    yield
    assert {each.pid for each in multiprocessing.active_children()} <= before
    assert not list(tmp_path.glob("gradcheck_lab_ranks_*"))


def raises_on_rank_1(x: Tensor) -> Tensor:
    if here() == 1:
        raise ValueError("no such shard")
    return Reduce.apply(x)


def raises_everywhere(x: Tensor) -> Tensor:
    raise ValueError("no such shard")


class ReturnsEarly(Copy):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        if here() == 1:
            return grad_output
        return all_reduced(grad_output)


def ends_rank_1(x: Tensor) -> Tensor:
    if here() == 1:
        os._exit(3)
    return Reduce.apply(x)


def test_rank_that_raises_is_named_and_the_one_that_waits_for_it() -> None:
    assert lines(report_of(raises_on_rank_1, PARTIAL)) == [
        "raises_on_rank_1: forward raised ValueError on rank 1",
        "cause: raises - no such shard; rank 0 waits at written.py, in all_reduced: distributed.all_reduce(total)",
        "fix: look at the traceback of rank 1 below",
        'traceback of the forward: test_ranks.py, in raises_on_rank_1: raise ValueError("no such shard")',
    ]


def test_ranks_that_all_raise_are_one_finding() -> None:
    assert lines(report_of(raises_everywhere))[0] == "raises_everywhere: forward raised ValueError on ranks 0 and 1"


def test_rank_that_waits_for_ever_is_named_with_its_line() -> None:
    began = time.monotonic()
    assert lines(report_of(ReturnsEarly, {"output": "shard:0"}, timeout=1.5)) == [
        "ReturnsEarly: the backward of the call as given, on float64[4, 6], did not come back on rank 0 within 1.5 seconds",
        "cause: timed-out - rank 0 is at written.py, in all_reduced: distributed.all_reduce(total); rank 1 returned",
        "fix: let every rank enter the same collectives in the same order, or allow more time: timeout=",
        "traceback of the backward: test_ranks.py, in backward: return all_reduced(grad_output)",
        "written.py, in all_reduced: distributed.all_reduce(total)",
    ]
    assert time.monotonic() - began < 60


def test_rank_that_ends_its_process_is_named() -> None:
    found = lines(report_of(ends_rank_1, PARTIAL))
    assert found[:2] == [
        "ends_rank_1: the forward of the call as given, on float64[4, 6], ended its process with exit code 3 on rank 1",
        "cause: crashed - rank 0 raised RuntimeError",
    ]


def test_what_a_rank_starts_ends_with_it(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "pids"

    def starts(x: Tensor) -> Tensor:
        child = subprocess.Popen(["sleep", "60"])
        with path.open("a") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        return Reduce.apply(x)

    assert report_of(starts, PARTIAL).verdict == "pass"
    pids = [int(pid) for pid in path.read_text().split()]
    assert len(pids) >= 4
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_output_that_is_not_the_same_everywhere_is_told_with_the_ranks() -> None:
    assert lines(report_of(lambda x: x * (here() + 1))) == [
        "<lambda>: the output has other values on rank 1 than on rank 0",
        "first seen at [0, 0]: rank 1 -4.62082, rank 0 -2.31041",
        "cause: ranks-disagree - it is replicated, so every rank has to hold the same",
        "fix: reduce or gather it in the forward, or say how it lies: placement={'output': gl.Shard(0)}, or gl.Partial()",
    ]


def test_outputs_that_are_no_parts_of_one_tensor_are_told_with_their_shapes() -> None:
    report = report_of(lambda x: x[: here() + 1])
    assert lines(report)[0] == "<lambda>: the output has the shapes (1, 6), (2, 6) on the ranks"
    assert report.findings[0].cause == "ranks-disagree"


def test_gradient_of_the_whole_for_a_part_is_told_with_both_shapes() -> None:
    op = gl.Op(lambda x: all_gathered(x, 0), lambda grad_output, output, x: (grad_output,), name="gathered")
    assert lines(report_of(op, {"x": "shard:0"}))[:2] == [
        "gathered: gradient of input 0 'x' has shape (4, 6), expected (2, 6) on ranks 0 and 1",
        "cause: wrong-shape - a rank holds (2, 6) of the input, and its gradient is as large",
    ]


def test_collective_without_a_backward_is_disconnected() -> None:
    def gathered(x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.detach())
        return torch.cat(parts)

    assert report_of(gathered, {"x": "shard:0"}, reference=torch.clone).findings[0].cause == "disconnected"


def test_same_seed_gives_the_same_report() -> None:
    one, other = (report_of(ReturnsScaled, PARTIAL, seed=3, reference=torch.clone) for _ in range(2))
    assert one.gradients == other.gradients
    assert one.findings == other.findings
    assert one.verdict == "fail"


class ReturnsScaled(Reduce):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 3 * grad_output


def test_what_the_caller_holds_is_as_before() -> None:
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    before, state = x.detach().clone(), torch.get_rng_state()
    names = {key: os.environ.get(key) for key in ("RANK", "WORLD_SIZE", "GLOO_SOCKET_IFNAME")}
    assert gl.check_distributed(Reduce, x, placement=PARTIAL, reference=lambda x: x.clone(), probes=False).verdict == "pass"
    assert torch.equal(x, before)
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    assert names == {key: os.environ.get(key) for key in names}
    assert not distributed.is_initialized()


def test_options_and_labels_reach_every_rank() -> None:
    def scaled(x: Tensor, labels: Tensor, *, scale: float) -> Tensor:
        return Reduce.apply(x[labels] * scale)

    report = gl.check_distributed(
        scaled, "real('n d')", "labels('k', classes='n')", placement={"x": "partial"}, options={"scale": 3.0},
        reference=lambda x, labels, scale: x[labels] * scale, probes=False,
    )  # fmt: skip
    assert report.verdict == "pass", report


def test_input_that_nobody_wants_a_gradient_of_is_left_out() -> None:
    class OfW(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x @ w.T

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor]:
            return None, grad_output.T @ ctx.saved_tensors[0]

    report = gl.check_distributed(
        OfW, "real('n d')", "real('m d')", placement={"w": "shard:0", "output": "shard:1"}, wrt="w", probes=False,
        reference=lambda x, w: x @ w.T,
    )  # fmt: skip
    assert report.verdict == "pass"
    assert [gradient.name for gradient in report.gradients] == ["w"]
