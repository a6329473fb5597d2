"""A repeated call gives the same gradients, and a backward does not write to what the forward saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.comparison.isolated_rule import call_label
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding, Stage
from gradcheck_lab.model.raised import raises_again
from gradcheck_lab.model.torch_messages import writes_to_saved
from gradcheck_lab.model.user_errors import first_line
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.own_step import after_own_step
from gradcheck_lab.probes.support.repeats import (
    Repetition,
    compared_inputs,
    equal_within_noise,
    is_repeatable,
    is_zero,
    repetition,
    snapshot,
)
from gradcheck_lab.subjects.subject import Recording


def second_backward(context: Context) -> Iterator[Finding]:
    """Repeat the call with the same random numbers; then run backward twice on one forward.

    Of a layer that steps its parameters in its backward, test first whether a gradient was made of what the step left.
    """
    yield from after_own_step(context)
    repeated = repetition(context)
    if repeated.second.error is not None:
        stage: Stage = "backward" if repeated.forward_ran else "forward"
        yield raises_again(repeated.second.error, stage, "second_backward", "the same call again")
        return
    if repeated.outcome in ("noise", "nondeterministic", "stochastic"):
        yield _unrepeatable(context, repeated)
    if not is_repeatable(context) or any(finding.cause in having("changes_the_call") for finding in context.findings):
        return
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return
    saved = _saved(recording)
    before = {name: snapshot((value,))[0] for name, value in saved.items()}
    grads, seed = context.case.grad_outputs or (), context.case.seed
    first_run = context.backward(recording, grads, seed)
    if first_run.error is not None:
        return
    first = snapshot(first_run.gradients)
    changed = [name for name, value in saved.items() if not _is_equal(value, before[name])]
    second_run = context.backward(recording, grads, seed)
    if second_run.error is not None:
        # a backward may free what it used; only torch's version check shows a write
        if writes_to_saved(second_run.error):
            yield _mutates(context, changed, "a second backward on the same forward raises", None, first_line(second_run.error))
        return
    second = snapshot(second_run.gradients)
    if context.subject.is_program:  # a Variable's gradient is the sum of all backwards
        second = tuple(_difference(b, a) for a, b in zip(first, second, strict=False))
    different = [
        i
        for i in compared_inputs(context)
        if len(second) == len(first) and not equal_within_noise(context, i, second[i], first[i])
    ]
    if context.subject.keeps_last_call:
        accumulated = [i for i in different if equal_within_noise(context, i, _difference(second[i], first[i]), first[i])]
        different = [i for i in different if i not in accumulated]
        state = context.subject.state
        yield from (_accumulates(context, i) for i in accumulated if state is not None and not state.adds_up(i))
    if different:
        i = different[0]
        message = f"gradient of {context.label(i)} differs in a second backward on the same forward"
        finding = _mutates(context, changed, message, context.name(i), "")
        own = "let backward leave what forward keeps on the layer as it is: give a new value a name of its own"
        yield replace(finding, suggestion=own) if context.subject.keeps_last_call and not changed else finding
    elif any(name in _returned(recording) for name in changed):
        yield _mutates(context, changed, "backward writes to what forward returned", None, "")


def _accumulates(context: Context, i: int) -> Finding:
    return Finding(
        "accumulates-across-calls",
        "error",
        f"gradient of {context.label(i)} grows by the same amount with every call",
        gradient=context.name(i),
        explanation="the second result is the first plus that of the second call, and nothing on the layer resets it",
        suggestion="assign where it says +=, or give the layer a zero_grad() that its users call",
        probe="second_backward",
        case="backward once more",
    )


def _unrepeatable(context: Context, repeated: Repetition) -> Finding:
    if repeated.outcome == "stochastic":
        return Finding(
            "stochastic",
            "note",
            "the forward gives other outputs for the same inputs and seed",
            explanation="it draws random numbers from a generator that cannot be replayed, so derived calls were not compared",
            suggestion="draw from torch's, NumPy's or random's global generator, or pass the noise as an input",
            probe="second_backward",
            case="the same call again",
        )
    unstable = [
        i
        for i in compared_inputs(context)
        if i in context.wrong_inputs and not context.equal(repeated.second_copies[i], repeated.first[i])
    ]
    if repeated.outcome == "noise" and not unstable:
        return Finding(
            "nondeterministic",
            "note",
            "the same call gives gradients that differ by rounding",
            explanation="sums are taken in another order from call to call, as atomic additions do",
            suggestion="nothing to do unless runs have to be reproducible bit by bit",
            probe="second_backward",
            case="the same call again",
        )
    i = next(iter(unstable), None)
    if i is None:
        i = next(
            i
            for i in compared_inputs(context)
            if not equal_within_noise(context, i, repeated.second_copies[i], repeated.first[i])
        )
    return Finding(
        "nondeterministic",
        "error",
        f"gradient of {context.label(i)} differs when the same call is repeated",
        gradient=context.name(i),
        explanation="the outputs are equal, the seed is the same, and the difference is more than rounding",
        suggestion="save the random numbers that forward drew instead of drawing again; write to every element of new buffers",
        probe="second_backward",
        case="the same call again",
    )


def _saved(recording: Recording) -> dict[str, torch.Tensor]:
    """What forward saved, by name: outputs, those of a program's ops, and the tensors saved on a Function's ctx."""
    found = _returned(recording)
    for node in _nodes(recording.outputs):
        try:
            tensors: Sequence[Any] = getattr(node, "saved_tensors", ())
        except RuntimeError:  # already freed, or written to
            tensors = ()
        found |= {f"saved tensor {k}": value for k, value in enumerate(tensors)}
        found |= {f"ctx.{name}": value for name, value in getattr(node, "__dict__", {}).items()}
    return {name: value.detach() for name, value in found.items() if isinstance(value, torch.Tensor)}


def _returned(recording: Recording) -> dict[str, Any]:
    """What forward returned, and what each op of a program returned, by name."""
    found = {"output" if len(recording.outputs) == 1 else f"output {k}": v for k, v in enumerate(recording.outputs)}
    for call in recording.calls:
        numbers = [f"output {k}" for k in range(len(call.outputs))] if call.several else ["output"]
        found |= {f"{n} of {call_label(call)}": value for n, value in zip(numbers, call.outputs, strict=True)}
    return found


def _nodes(outputs: Sequence[Any]) -> list[Any]:
    pending = [value.grad_fn for value in outputs if isinstance(value, torch.Tensor)]
    seen: list[Any] = []
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.append(node)
            pending += [before for before, _ in node.next_functions]
    return seen


def _is_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or (a.dtype.is_floating_point and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def _difference(a: Any, b: Any) -> Any:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape:
        return a - b
    return a if is_zero(b) else None


def _mutates(context: Context, changed: Sequence[str], message: str, gradient: str | None, error: str) -> Finding:
    what = changed[0] if changed else ""
    explanation = f"{what} was changed by the first backward" if what else "the first backward changed what forward had saved"
    return Finding(
        "mutates-saved",
        "error",
        message,
        gradient=gradient,
        explanation=f"{explanation}: {error}" if error else explanation,
        suggestion=f"compute on a clone of {what or 'what forward saved'}; an operation that ends in _ or out= writes to it",
        probe="second_backward",
        case="backward twice on one forward",
        kept=tuple(str(each) for each in context.subject.kept() if each.place == what),
    )
