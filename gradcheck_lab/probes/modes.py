"""The gradient is right in train() and in eval(), and belongs to the random numbers that the forward drew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case, examine_derived_call, wide_inputs


def modes(context: Context) -> Iterator[Finding]:
    """Check a module or layer in its other mode, and run the backward of a random forward with another seed."""
    yield from _other_mode(context)
    yield from _random(context)


def _other_mode(context: Context) -> Iterator[Finding]:
    state = context.subject.state
    owner = None if state is None else state.owner
    if owner is None or not isinstance(getattr(owner, "training", None), bool):
        return
    was_training = owner.training
    mode, other_mode = ("train()", "eval()") if was_training else ("eval()", "train()")
    before = {m: m.training for m in owner.modules()} if isinstance(owner, torch.nn.Module) else {}
    try:
        _set_mode(owner, not was_training)
        derived = examine_derived_call(context, derived_case(context, inputs=wide_inputs(context), label=other_mode))
    finally:
        owner.training = was_training
        for module, was in before.items():
            module.training = was
    for new_error in () if derived is None else derived.new_errors:
        yield replace(
            new_error,
            cause="mode-mismatch",
            message=f"{new_error.message}, in {other_mode}",
            explanation=f"right in {mode}, wrong in {other_mode}: {new_error.explanation}",
            suggestion="look at the mode in the backward as the forward does",
            probe="modes",
            case=other_mode,
        )


def _set_mode(owner: Any, training: bool) -> None:
    switch = getattr(owner, "train" if training else "eval", None)
    if callable(switch):
        switch()
    else:
        owner.training = training


def _random(context: Context) -> Iterator[Finding]:
    recording = context.record(context.case)
    if isinstance(recording, Exception) or not draws_random(context.case.seed) or context.case.grad_outputs is None:
        return
    name = context.subject.name
    yield Finding("stochastic", "note", f"{name} draws random numbers; they were replayed", probe="modes", case="as given")
    found = context.backward(recording, context.case.grad_outputs, context.case.seed + 1)
    for i, (mine, wanted) in enumerate(zip(found.gradients, context.gradients, strict=False)):
        if not context.equal(mine, wanted):
            yield Finding(
                "random-replay",
                "error",
                f"gradient of {context.label(i)} is not that of the forward's random draw",
                gradient=context.name(i),
                explanation="the same forward's backward gives another result with other random numbers at hand: it draws anew",
                suggestion="save the mask, or the generator's state, in the forward and use it in the backward",
                probe="modes",
                case="the backward after other random numbers",
            )
