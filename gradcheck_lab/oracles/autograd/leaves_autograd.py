"""Whether a forward leaves autograd on its way: it detaches, reads a number out, or switches gradients off."""

from __future__ import annotations

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.subjects.forward_bodies import CodePart
from gradcheck_lab.subjects.leaving_autograd import LeavingAutograd
from gradcheck_lab.subjects.runner import Runner


def leaves_autograd(runner: Runner, case: Case) -> CodePart | None:
    """Where the forward leaves autograd, in one more run of it; None where it does not.

    In a "body" that is hand-written, or only "around" those, in code that torch differentiates as it stands.
    """
    subject = runner.subject
    if subject.trace is None:
        return "body"
    inputs = tuple(v.detach().requires_grad_() if is_differentiable(v) else v for v in case.inputs)
    watch = LeavingAutograd()
    try:
        with torch.enable_grad(), watch:
            runner.trace(inputs, case)
    except Exception:  # it runs without the watch: whatever it does under it, it is not plain torch
        return "body"
    if not subject.written_in_torch and "around" in watch.left:
        return "body"
    return "body" if "body" in watch.left else "around" if "around" in watch.left else None
