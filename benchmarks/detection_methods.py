"""What a check, `torch.autograd.gradcheck` and a notebook's habit say about one subject."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from benchmarks import detection_opcheck
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.subject import Subject
from gradcheck_lab.subjects.untraceable import Untraceable
from tests.mistakes.registry import Mistake

# what a twin that is right to first order may lack
SECOND_ORDER = frozenset({"double-backward"})


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a method objects to a subject, what it says, and the seconds that it took."""

    objects: bool
    says: str = ""
    seconds: float = 0.0


def check(row: Mistake, subject: Any) -> Answer:
    """Ask this project: one call of `gl.check`, with nothing but the inputs."""
    report = gl.check(subject, *deepcopy(row.inputs), options=dict(row.options), **row.check_options)
    loud = [f for f in report.findings if f.severity == "error" and f.cause not in SECOND_ORDER]
    return Answer(report.verdict != "pass", loud[0].cause if loud else report.verdict)


def gradcheck(row: Mistake, subject: Any) -> Answer:
    """Ask `torch.autograd.gradcheck` with its defaults, in float64 as its documentation says."""
    return _gradcheck(row, subject, fast_mode=False)


def gradcheck_fast(row: Mistake, subject: Any) -> Answer:
    """Ask `torch.autograd.gradcheck(fast_mode=True)`."""
    return _gradcheck(row, subject, fast_mode=True)


def notebook(row: Mistake, subject: Any) -> Answer:
    """Do as notebooks do: `.sum().backward()`, then `torch.allclose` against autograd of the reference."""
    adapted = adapt(subject, deepcopy(row.inputs), dict(row.options))
    inputs, call = differentiable(row, subject, adapted, wide=False)
    _seed()
    outputs = as_tuple(call(*inputs))
    _total(outputs).backward()
    leaves = [_leaf(v, wide=False) for v in adapted.inputs]
    _seed()
    reference = row.check_options.get("reference")
    if reference is not None:
        expected = reference(*leaves[: len(row.inputs)])
    elif adapted.trace is not None:
        try:
            expected = adapted.trace(tuple(leaves), dict(row.options), frozenset()).outputs
        except Untraceable:
            return Answer(False, "no reference")
    else:
        return Answer(False, "no reference")
    # outputs that the subject marks as having no gradient are in nobody's loss
    _total([o for o, mine in zip(as_tuple(expected), outputs, strict=True) if _tracked(mine)]).backward()
    for mine, wanted in zip(inputs, leaves, strict=True):
        if isinstance(wanted, Tensor) and wanted.requires_grad and wanted.grad is not None:
            grad = mine.grad
            if grad is None or grad.shape != wanted.grad.shape or not torch.allclose(grad, wanted.grad.to(grad.dtype)):
                return Answer(True, "not close")
    return Answer(False)


def opcheck(row: Mistake, subject: Any) -> Answer:
    """Ask `torch.library.opcheck`: of a custom op as it is, of what is none once it is registered as one."""
    return Answer(detection_opcheck.objects(row, subject))


METHODS: dict[str, Callable[[Mistake, Any], Answer]] = {
    "gl.check": check,
    "gradcheck": gradcheck,
    "gradcheck fast": gradcheck_fast,
    "opcheck": opcheck,
    "sum, allclose": notebook,
}


def asked(method: Callable[[Mistake, Any], Answer], row: Mistake, build: Callable[[], Any]) -> Answer:
    """Run a method on a newly built subject and time it; whatever it raises is an objection."""
    subject = build()
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            answer = method(row, subject)
    except Exception as error:
        answer = Answer(True, type(error).__name__)
    return Answer(answer.objects, answer.says, time.perf_counter() - start)


def differentiable(row: Mistake, subject: Any, adapted: Subject, wide: bool) -> tuple[list[Any], Callable[..., Any]]:
    """Leaves and a function of them that torch differentiates through the hand-written backward."""
    leaves = [_leaf(v, wide) for v in adapted.inputs]
    if isinstance(subject, type) and issubclass(subject, Function):
        return leaves, lambda *inputs: subject.apply(*inputs, *row.options.values())
    if isinstance(subject, torch.nn.Module):
        names = [name for name, _ in subject.named_parameters()]
        return leaves, lambda *inputs: torch.func.functional_call(
            subject, dict(zip(names, inputs[len(row.inputs) :], strict=True)), inputs[: len(row.inputs)], dict(row.options)
        )
    recording = adapted.record(tuple(v.detach() if isinstance(v, Tensor) else v for v in leaves), dict(row.options))
    kind = recording.kind or adapted.kind
    if kind in ("op", "program", "pair", "layer") or hasattr(subject, "backward"):
        return leaves, lambda *inputs: by_hand(adapted, row)(*inputs)
    return leaves, lambda *inputs: subject(*inputs, **row.options)


def by_hand(adapted: Subject, row: Mistake) -> Callable[..., Any]:
    """The subject's forward and hand-written backward as one Function, written the way users would wrap them."""

    class ByHand(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.inputs = inputs
            ctx.recording = adapted.record(inputs, dict(row.options))
            outputs = tuple(o.clone() for o in ctx.recording.outputs)
            return outputs if ctx.recording.several else outputs[0]

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            if ctx.recording.kind == "program" or adapted.kind == "program":
                # a tape adds up over backwards, as engines do; users walk it once
                ctx.recording = adapted.record(ctx.inputs, dict(row.options))
            return tuple(as_tuple(ctx.recording.backward(grad_outputs).returned))

    return ByHand.apply


def _gradcheck(row: Mistake, subject: Any, fast_mode: bool) -> Answer:
    adapted = adapt(subject, deepcopy(row.inputs), dict(row.options))
    inputs, call = differentiable(row, subject, adapted, wide=True)
    _seed()
    fine = torch.autograd.gradcheck(call, tuple(inputs), fast_mode=fast_mode, raise_exception=False)
    return Answer(not fine)


def _leaf(value: Any, wide: bool) -> Any:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return value
    value = value.detach().clone()
    return (value.double() if wide and value.is_floating_point() else value).requires_grad_()


def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


def _tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _total(outputs: Sequence[Any]) -> Tensor:
    parts = [o for o in outputs if _tracked(o)]
    return sum((o.real if o.is_complex() else o).sum() for o in parts)  # type: ignore[return-value]
