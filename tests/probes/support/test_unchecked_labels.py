"""A loss that trusts its labels ends no process on derived calls, and is itself again afterwards."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.probes.support.unchecked_labels import labels_checked

LOG_PROBS = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
TARGETS = torch.tensor([[1, 2], [2, 3]])


def loss(log_probs: Tensor, targets: Tensor) -> Tensor:
    times, rows = log_probs.shape[:2]
    return F.ctc_loss(log_probs, targets, torch.full((rows,), times), torch.full((rows,), targets.shape[1]))


class Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(log_probs, targets)
        return loss(log_probs, targets)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        log_probs, targets = ctx.saved_tensors
        with torch.enable_grad():
            again = log_probs.detach().requires_grad_()
            (sent,) = torch.autograd.grad(loss(again, targets), again, grad)
        return sent, None


def test_a_loss_over_alignments_is_checked_and_the_process_lives() -> None:
    own = torch.ctc_loss
    report = gl.check(Loss, LOG_PROBS, TARGETS, reference=loss)
    assert report.verdict == "pass", report
    assert torch.ctc_loss is own


def test_a_loss_over_alignments_needs_no_reference() -> None:
    report = gl.check(Loss, LOG_PROBS, TARGETS)
    assert report.verdict == "pass", report
    assert any("ctc_loss takes its input for" in finding.message for finding in report.findings), report


def test_labels_that_are_no_classes_are_refused_within_the_block_alone() -> None:
    with labels_checked(), labels_checked():
        assert torch.equal(loss(LOG_PROBS, TARGETS), loss(LOG_PROBS, TARGETS.clone()))
        with pytest.raises(IndexError, match=r"^a label is none of 4 classes$"):
            loss(LOG_PROBS, TARGETS + 1)
        with pytest.raises(IndexError, match=r"^a label is none of 4 classes$"):
            loss(LOG_PROBS, TARGETS - 2)
        with pytest.raises(IndexError, match=r"^log_probs has 4 dimensions$"):
            torch.ctc_loss(LOG_PROBS[..., None], TARGETS, [6, 6], [2, 2])


def test_blocks_of_several_threads_leave_the_function_as_it_was() -> None:
    own, together = torch.ctc_loss, threading.Barrier(4)

    def enter() -> None:
        with labels_checked():
            together.wait()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.ctc_loss is own
