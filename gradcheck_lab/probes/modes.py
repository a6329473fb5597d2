"""The gradient is right in train() and in eval(), and belongs to the random numbers that the forward drew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.changed_options import attributes_set
from gradcheck_lab.probes.support.code_of import code_of, read_by_forward
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case, examine_derived_call, wide_inputs
from gradcheck_lab.probes.support.option_values import values_in_code
from gradcheck_lab.probes.support.other_draws import is_of_another_mask
from gradcheck_lab.probes.support.training_flags import is_training_flag, meant_for
from gradcheck_lab.subjects.subject import Recording


def modes(context: Context) -> Iterator[Finding]:
    """Check a module or layer in its other mode, and run the backward of a random forward with another seed."""
    yield from _other_mode(context)
    yield from _random(context)


def _other_mode(context: Context) -> Iterator[Finding]:
    owner = context.subject.state.owner if context.subject.state is not None else None
    for name, other in _flags(context, owner).items():
        texts = _texts(owner, name, other)
        here = context.record(context.case)
        with _mode_set(owner, name, other):
            case = derived_case(context, inputs=wide_inputs(context), label=texts[1])
            derived = examine_derived_call(context, case)
            wrong = derived.new_errors if derived is not None else ()
            severity = meant_for(context, name, here, context.record(context.case), attribute=True) if wrong else None
        for new_error in wrong:
            is_number = derived is not None and derived.returned_and_true(new_error) is not None
            if severity is None or (context.subject.keeps_last_call and not is_number):
                continue  # a backward of an object that belongs to one mode
            yield replace(
                new_error,
                cause="mode-mismatch",
                severity=severity,
                message=f"{new_error.message}, in {texts[1]}",
                explanation=f"right in {texts[0]}, wrong in {texts[1]}: {new_error.explanation}",
                suggestion="look at the mode in the backward as the forward does",
                probe="modes",
                case=texts[1],
            )


def _flags(context: Context, owner: Any) -> dict[str, Any]:
    """The attributes that say in which mode an object is, with the value of the other mode."""
    held = {"training": getattr(owner, "training", None), **getattr(owner, "__dict__", {})}
    found: dict[str, Any] = {}
    for name, value in held.items():
        if name == "training" and isinstance(value, bool):
            found[name] = not value
        elif is_training_flag(name, value) and name in read_by_forward(context):
            others = [v for v in values_in_code(context, name, value, code_of(context)) if is_training_flag(name, v)]
            found |= {name: others[0]} if others else {}
    return found


def _texts(owner: Any, name: str, other: Any) -> tuple[str, str]:
    """What messages call the mode of an object and the other one."""
    if name == "training":
        return ("eval()", "train()") if other else ("train()", "eval()")
    return f"{name}={getattr(owner, name)!r}", f"{name}={other!r}"


@contextmanager
def _mode_set(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within the block an object is in the other mode."""
    before = {m: m.training for m in owner.modules()} if isinstance(owner, torch.nn.Module) else {}
    switch = getattr(owner, "train" if value else "eval", None)
    with attributes_set(owner, {name: getattr(owner, name)}):
        try:
            if name == "training" and callable(switch):
                switch()
            else:
                setattr(owner, name, value)
            yield
        finally:
            for module, was in before.items():
                module.training = was


def _random(context: Context) -> Iterator[Finding]:
    recording = context.record(context.case)
    if isinstance(recording, Exception) or context.case.grad_outputs is None:
        return
    if not draws_random(context.case.seed):
        yield from _drawn_in_backward(context, recording, context.case.grad_outputs)
        return
    name = context.subject.name
    yield Finding("stochastic", "note", f"{name} draws random numbers; they were replayed", probe="modes", case="as given")
    found = context.backward(recording, context.case.grad_outputs, context.case.seed + 1)
    for i, (mine, wanted) in enumerate(zip(found.gradients, context.gradients, strict=False)):
        if not context.equal(mine, wanted):
            why = "the same forward's backward gives another result with other random numbers at hand: it draws anew"
            yield _replayed(context, i, why, "the backward after other random numbers")
        elif i in context.wrong_inputs and is_of_another_mask(context, i):
            why = "it is the upstream gradient times the forward's factors, some of them at other elements"
            yield _replayed(context, i, why, "as given")


def _drawn_in_backward(context: Context, recording: Recording, grad_outputs: tuple[torch.Tensor, ...]) -> Iterator[Finding]:
    """The wrong gradients that are others with other random numbers, where the forward draws none."""
    if not context.wrong_inputs:
        return
    found = context.backward(recording, grad_outputs, context.case.seed + 1)
    for i, (mine, known) in enumerate(zip(found.gradients, context.gradients, strict=False)):
        if i in context.wrong_inputs and not context.equal(mine, known):
            yield Finding(
                "nondeterministic",
                "error",
                f"gradient of {context.label(i)} is another with other random numbers",
                gradient=context.name(i),
                explanation="backward draws random numbers, and the forward draws none",
                suggestion="draw nothing in the backward, or draw it in the forward and save it",
                probe="modes",
                case="the backward after other random numbers",
            )


def _replayed(context: Context, index: int, why: str, case: str) -> Finding:
    return Finding(
        "random-replay",
        "error",
        f"gradient of {context.label(index)} is not that of the forward's random draw",
        gradient=context.name(index),
        explanation=why,
        suggestion="save the mask, or the generator's state, in the forward and use it in the backward",
        probe="modes",
        case=case,
    )
