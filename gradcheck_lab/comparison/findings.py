"""What is said about one compared gradient: where it is worst, by how much, and the finding."""

from __future__ import annotations

import torch

from gradcheck_lab.comparison.budget import Judgement
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Explanation
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding, GradientResult, Number
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.oracles.autograd.subgradients import Interval
from gradcheck_lab.subjects.code.kept import concerned


def wrong_finding(
    slot: Slot, result: GradientResult, found: Judgement, explanation: Explanation, actual: torch.Tensor
) -> Finding:
    if found.rule == "finite":
        value = str(number(actual[found.worst_index or ()]))
        explanation = Explanation(
            "non-finite",
            f"backward gives {value} where {slot.reference} is finite",
            "guard the division, logarithm or exponential there, or use the stable form",
        )
    count = f"in {found.wrong_elements} of {found.elements} elements"
    if found.rule in ("slice", "scale") and not found.wrong_elements:
        count = "as a whole: every element is close, and all err alike"
    return Finding(
        cause=explanation.cause,
        severity="error",
        message=f"gradient of {slot.label} is wrong {count}",
        gradient=slot.name,
        explanation=explanation.sentence,
        suggestion=explanation.suggestion,
        op=slot.op,
        where=worst_line(result, slot.reference),
        measured=result.max_abs_error,
        allowed=result.allowed,
        kept=_concerned(slot, explanation),
    )


def _concerned(slot: Slot, explanation: Explanation) -> tuple[str, ...]:
    """What the backward gets from the forward that an explanation is about."""
    if explanation.cause in having("of_gradients"):
        return ()
    return concerned(slot.kept(), [claim.what for claim in explanation.claims])


def worst_line(result: GradientResult, reference: str) -> str:
    """`worst at [1, 2]: backward 0.84, autograd 0.42 (relative error 1.0, allowed 1.5e-15)`."""
    if result.worst_index is None or result.actual is None or result.expected is None:
        return ""
    size = abs(result.expected)
    error = abs(result.actual - result.expected)
    kind, measured, allowed = "error", error, result.allowed
    if size > 0:
        kind, measured, allowed = "relative error", error / size, result.allowed / size
    place = f"at {list(result.worst_index)}" if result.worst_index else "value"
    return (
        f"worst {place}: backward {show(result.actual)}, {reference} {show(result.expected)} "
        f"({kind} {measured:.2g}, allowed {allowed:.2g})"
    )


def show(value: Number) -> str:
    """A number as a person writes it, to six digits."""
    return f"{value:.6g}"


def number(value: torch.Tensor) -> Number:
    """The one element of `value` as a Python number."""
    found = value.item()
    return found if isinstance(found, complex) else float(found)


def short_dtype(dtype: torch.dtype) -> str:
    """`float64`."""
    return str(dtype).removeprefix("torch.")


def dtype_problem(slot: Slot, dtype: torch.dtype) -> Finding:
    got, wanted = short_dtype(dtype), short_dtype(slot.dtype)
    floating = dtype.is_floating_point or dtype.is_complex
    same_kind = floating and dtype.is_complex == slot.dtype.is_complex
    wider = same_kind and unit_roundoff(dtype) < unit_roundoff(slot.dtype)
    loss = "digits are wasted" if wider else "digits are lost"
    return Finding(
        cause="wrong-dtype",
        severity="warning" if wider else "error",
        message=f"gradient of {slot.label} is {got}, expected {wanted}",
        gradient=slot.name,
        explanation=f"it comes back in another dtype than its input: {loss}",
        suggestion=f"compute it in {wanted}, the dtype of {slot.name!r}",
        op=slot.op,
    )


def convention(slot: Slot, count: int) -> Finding:
    return Finding(
        cause="convention",
        severity="note",
        message=convention_message(slot.label, slot.reference, count),
        gradient=slot.name,
        explanation="any value between the one-sided derivatives is a subgradient",
        op=slot.op,
    )


def convention_message(label: str, reference: str, count: int) -> str:
    """What is said of a gradient that takes another convention than the reference in so many elements."""
    kinks = "1 kink" if count == 1 else f"{count} kinks"
    return f"gradient of {label} differs from {reference} at {kinks}, within the one-sided derivatives"


def outside_kinks(slot: Slot, actual: torch.Tensor, kinks: Interval, found: Judgement) -> Finding | None:
    at = found.worst_index
    if at is None or not bool(kinks.kink[at]) or found.wrong_elements > int(kinks.kink.sum()):
        return None
    low, high, value = number(kinks.low[at]), number(kinks.high[at]), number(actual[at])
    return Finding(
        cause="outside-subdifferential",
        severity="error",
        message=f"gradient of {slot.label} is wrong in {found.wrong_elements} of {found.elements} elements, all at kinks",
        gradient=slot.name,
        explanation=f"the one-sided derivatives there are {show(low)} and {show(high)}, and backward gives {show(value)}",
        suggestion="return a value between the one-sided derivatives",
        op=slot.op,
        where=f"worst at {list(at)}: backward {show(value)}, allowed from {show(low)} to {show(high)}",
        measured=found.max_abs_error,
        allowed=found.allowed,
    )


def unconserved_mass(label: str, name: str, actual: float, wanted: float) -> Finding:
    """The finding that the gradients of tied values, each of which may be any subgradient, have the wrong sum."""
    message = f"gradient of {label} does not conserve the mass of its ties"
    why = f"its elements sum to {show(actual)} where the derivative along all of them is {show(wanted)}"
    return Finding("tie-mass", "error", message, name, why, CAUSES["tie-mass"].fix, measured=abs(actual - wanted))
