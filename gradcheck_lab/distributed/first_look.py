"""What is wrong with what each rank returns by itself, before anything is put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.distributed.explain import Held, explained
from gradcheck_lab.distributed.failures import on_ranks, raised_finding
from gradcheck_lab.distributed.placements import Replicate
from gradcheck_lab.distributed.plan import Plan
from gradcheck_lab.distributed.ranks import RankRaised
from gradcheck_lab.distributed.together import Seen, Together, unlike
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import widened
from gradcheck_lab.subjects.runner import Evaluations


def first_look(plan: Plan, together: Together, counts: Evaluations) -> list[Finding]:
    """What is wrong with what each rank returns by itself; else `together.seen` has it."""
    layout = plan.layout
    wanted = [i for i, v in enumerate(plan.inputs) if is_differentiable(v) and i not in plan.constants]
    given = together.placed(copy_inputs(plan.inputs))
    seed_all(layout.seed)
    try:
        counts.forward += 1
        call, answers = together.run_forward(given, wanted)
        outputs = [tuple(each.values) for each in answers]
        if problem := unlike(outputs, layout):
            return [_misplaced(problem)]
        if not any(is_differentiable(output) for output in outputs[0]):
            raise InvalidArgument(f"no output of {plan.name} is a floating tensor; return one that a gradient is wanted of")
        found = _disagreeing(plan, outputs)
        if found:
            return found
        whole = together.whole(outputs, 0)
        generator = torch.Generator().manual_seed(layout.seed)
        upstream = [random_like(v, generator) if is_differentiable(v) else torch.zeros_like(v) for v in whole]
        counts.backward += 1
        back = together.run_backward(call, upstream)
    except RankRaised as error:
        if error.problems[0].no_tensor:
            what = error.problems[0].message
            raise InvalidArgument(
                f"the forward of {plan.name} returned {what}; return a tensor or a tuple of tensors"
            ) from None
        return [raised_finding(error)]
    gradients = [tuple(each.values) for each in back]
    problems = [_other_count(plan, gradients), *_other_shapes(plan, gradients, given)]
    together.seen = Seen(tuple(outputs), tuple(gradients))
    return [each for each in problems if each is not None]


def _misplaced(problem: str) -> Finding:
    return Finding(
        "ranks-disagree",
        "error",
        problem,
        explanation="what the ranks return does not fit together as the output is placed",
        suggestion="return it as it is placed, or say how it lies: placement={'output': gl.Shard(0)}, or gl.Partial()",
        stage="forward",
    )


def _disagreeing(plan: Plan, outputs: Sequence[Sequence[torch.Tensor]]) -> list[Finding]:
    """The findings on replicated outputs that are not the same on every rank."""
    found = []
    for k, parts in enumerate(zip(*outputs, strict=True)):
        if not isinstance(plan.layout.output(k), Replicate) or not is_differentiable(parts[0]):
            continue
        others = [r for r, part in enumerate(parts) if not judge(part, widened(parts[0]), part.dtype).passed]
        if not others:
            continue
        what = "the output" if len(outputs[0]) == 1 else f"output {k}"
        truth = _true_output(plan, k)
        comparable = truth is not None and truth.shape == parts[0].shape
        told = explained(Held(tuple(parts), Replicate(), truth, parts[0].dtype)) if truth is not None and comparable else None
        index = int((parts[others[0]] - parts[0]).abs().reshape(-1).argmax())
        values = parts[others[0]].reshape(-1)[index].item(), parts[0].reshape(-1)[index].item()
        at = [int(n) for n in torch.unravel_index(torch.tensor(index), parts[0].shape)]
        found.append(
            Finding(
                "ranks-disagree" if told is None else told.cause,
                "error",
                f"{what} has other values {on_ranks(others)} than on rank 0",
                explanation="it is replicated, so every rank has to hold the same" if told is None else told.sentence,
                suggestion="reduce or gather it in the forward, or say how it lies: placement={'output': gl.Shard(0)}, "
                "or gl.Partial()",
                where=f"first seen at {at}: rank {others[0]} {values[0]:.6g}, rank 0 {values[1]:.6g}",
                stage="forward",
            )
        )
    return found


def _true_output(plan: Plan, index: int) -> torch.Tensor | None:
    """An output of the reference in float64; None without one, and where it raises, which the examination tells."""
    if plan.reference is None:
        return None
    wide = [widened(v) if is_differentiable(v) else v for v in copy_inputs(plan.inputs)]
    try:
        with torch.no_grad():
            returned = plan.reference(*wide, **plan.options)
    except Exception:
        return None
    outputs = returned if isinstance(returned, tuple | list) else (returned,)
    value = outputs[index] if index < len(outputs) else None
    return widened(value) if isinstance(value, torch.Tensor) and is_differentiable(value) else None


def _other_count(plan: Plan, gradients: Sequence[Sequence[Any]]) -> Finding | None:
    wrong = [r for r, each in enumerate(gradients) if len(each) != len(plan.inputs)]
    if not wrong:
        return None
    count, inputs = len(gradients[wrong[0]]), len(plan.inputs)
    fix = "return one gradient per input, in order, None where not differentiable"
    return Finding("gradient-count", "error", f"backward returned {count} gradients for {inputs} inputs {on_ranks(wrong)}",
                   explanation=f"returned {count} for {inputs} inputs", suggestion=fix, stage="backward")  # fmt: skip


def _other_shapes(plan: Plan, gradients: Sequence[Sequence[Any]], given: Sequence[Sequence[Any]]) -> Iterator[Finding]:
    if any(len(each) != len(plan.inputs) for each in gradients):
        return
    for index, label in enumerate(plan.layout.labels):
        own = [each[index] for each in given]
        found = [each[index] for each in gradients]
        wrong = [r for r, (g, x) in enumerate(zip(found, own, strict=True)) if g is not None and g.shape != x.shape]
        if wrong:
            got, wanted = tuple(found[wrong[0]].shape), tuple(own[wrong[0]].shape)
            yield Finding(
                "wrong-shape",
                "error",
                f"gradient of {label} has shape {got}, expected {wanted} {on_ranks(wrong)}",
                gradient=plan.layout.names[index],
                explanation=f"a rank holds {wanted} of the input, and its gradient is as large",
                suggestion="cut the gradient, or reduce and scatter it, to what this rank holds of the input",
                stage="backward",
            )
