"""Checks from several threads at once: each sees the random numbers of its own seed, and nothing of the others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

import gradcheck_lab as gl


class _SlowDropout(torch.autograd.Function):
    """Draws its mask, waits, and draws a scale: another thread that seeds in between would change the second draw."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        mask = (torch.rand_like(x) > 0.5).to(x)
        time.sleep(1e-3)
        kept = mask * torch.rand_like(x)
        ctx.save_for_backward(kept)
        return x * kept

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output * ctx.saved_tensors[0]


def _checked(seed: int) -> dict[str, Any]:
    report = gl.check(_SlowDropout, torch.arange(1.0, 7.0, dtype=torch.float64), seed=seed, probes={"state", "upstream"})
    return {**report.to_dict(), "seconds": 0.0}


def test_checks_of_several_threads_give_what_each_gives_alone() -> None:
    alone = [_checked(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(_checked, range(4)))
    assert together == alone
    assert [report["verdict"] for report in alone] == ["pass"] * 4
    assert all(report["evaluations"] == alone[0]["evaluations"] for report in together)


def test_threads_leave_the_generators_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(_checked, range(3)))
    assert torch.equal(before, torch.get_rng_state())
