"""Whether a forward leaves autograd on its way: it detaches, reads a number out, or switches gradients off."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.subjects.forward_bodies import CodePart
from gradcheck_lab.subjects.leaving_autograd import LeavingAutograd
from gradcheck_lab.subjects.runner import Runner


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a forward leaves autograd, and what functions of torch do in it with gradients that is not their derivative."""

    part: CodePart | None
    conventions: tuple[str, ...] = ()


def leaves_autograd(runner: Runner, case: Case) -> Departure:
    """Where the forward leaves autograd, in one more run of it; None where it does not.

    In a "body" that is hand-written, or only "around" those, in code that torch differentiates as it stands.
    """
    subject = runner.subject
    if subject.trace is None:
        return Departure("body")
    inputs = tuple(v.detach().requires_grad_() if is_differentiable(v) else v for v in case.inputs)
    watch = LeavingAutograd()
    try:
        with torch.enable_grad(), watch:
            runner.trace(inputs, case)
    except Exception:  # it runs without the watch: whatever it does under it, it is not plain torch
        return Departure("body")
    in_body = "body" in watch.left or (not subject.written_in_torch and "around" in watch.left)
    return Departure("body" if in_body else "around" if "around" in watch.left else None, tuple(watch.conventions))


def conventions_met(runner: Runner, case: Case) -> tuple[str, ...]:
    """What functions of torch do with gradients that is not their derivative, where torch differentiates code as it stands."""
    watch = LeavingAutograd()
    with watch:
        runner.record(copy_inputs(case.inputs), case)
    return tuple(watch.conventions)
