"""Calls derived from the user's: inputs of other shapes and values that keep what the given ones promise, and what they show."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.case import Case, is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.probes.context import Context
from gradcheck_lab.report import Finding
from gradcheck_lab.subject import Key
from gradcheck_lab.tolerance import judge

if TYPE_CHECKING:
    from gradcheck_lab.examine import Examination

# other probes answer for these, on the user's own call
_ELSEWHERE = frozenset({"mutates-input", "mutates-grad-output", "disconnected"})


@dataclass(frozen=True, slots=True)
class Trial:
    """A derived case that the user's forward takes: its examination, and the errors that the user's call did not show."""

    case: Case
    examination: Examination
    problems: tuple[Finding, ...]

    @property
    def inputs(self) -> tuple[Any, ...]:
        return self.case.inputs

    def index(self, finding: Finding) -> int | None:
        """Which input a finding is about; None for an op within a program."""
        names = self.examination.subject.names
        return names.index(finding.gradient) if finding.gradient in names and not finding.op else None

    def pair(self, finding: Finding) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What the backward returned and the truth; None where they cannot be laid side by side."""
        index = self.index(finding)
        if index is None or index >= len(self.examination.returned):
            return None
        actual, truth = self.examination.returned[index], _truth(self.examination, index)
        if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape:
            return None
        return actual.detach(), truth


def attempt(context: Context, case: Case) -> Trial | None:
    """Examine a derived case; None where the forward does not take it, or gives values that are not finite."""
    case = replace(case, grad_outputs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not valid(context, case):
            return None
        try:
            found = context.examine(case)
        except Exception:  # the call is our idea: where the oracle cannot follow it, it shows nothing
            return None
        if found is None or any(f.cause == "raises" and f.message.startswith("forward") for f in found.findings):
            return None
        known = _known(context)
        fresh = [
            f for f in found.findings
            if f.severity == "error" and f.cause not in _ELSEWHERE and (f.op, f.gradient) not in known and not _excused(found, f)
        ]  # fmt: skip
        if fresh and not _finite_forward(context, case):
            return None
        if not found.comparisons and not fresh:
            return None
    return Trial(case, found, tuple(fresh))


def blank(context: Context, **changes: Any) -> Case:
    """The base case without its upstream gradients, which are drawn anew to fit."""
    return replace(context.case, **{"grad_outputs": None, **changes})


def wide_inputs(context: Context, widest: bool = False) -> tuple[Any, ...]:
    """The inputs in float32 where they have 16 bits: other sizes and values are judged where rounding hides nothing.

    `widest` takes an op's to float64, which saves a second run of its rule.
    """
    given = context.case.inputs
    narrow = [torch.finfo(v.dtype).bits for v in given if is_differentiable(v) and not v.is_complex()]
    goals = [torch.float64] if widest and context.base.subject.op is not None and min(narrow, default=64) < 64 else []
    goals += [torch.float32] if min(narrow, default=64) < 32 else []
    for goal in goals:
        wide = tuple(_widened(v, goal) for v in given)
        if not isinstance(context.record(replace(context.case, inputs=wide)), Exception):
            return wide
    return given


def _widened(value: Any, goal: torch.dtype) -> Any:
    narrower = is_differentiable(value) and not value.is_complex() and torch.finfo(value.dtype).bits < torch.finfo(goal).bits
    return value.to(goal) if narrower else value


def shapes_text(context: Context, inputs: Sequence[Any], only: Sequence[int] | None = None) -> str:
    """`x (4, 3), weight (5, 3)`."""
    return ", ".join(
        f"{context.name(i)} {tuple(v.shape)}"
        for i, v in enumerate(inputs)
        if isinstance(v, torch.Tensor) and (only is None or i in only)
    )


def resembling(given: torch.Tensor, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Values like those of `given` in another shape: drawn among them, apart from one another, with their structure."""
    count = 1
    for size in shape:
        count *= size
    flat = given.detach().reshape(-1)
    if not flat.numel():
        fresh = torch.randn(count, generator=generator, dtype=torch.float64)
        return fresh.to(given.device, given.dtype).reshape(tuple(shape))
    picked = flat[torch.randint(0, flat.numel(), (count,), generator=generator).to(flat.device)]
    if is_differentiable(given):
        whole = bool((flat == flat.real.round() if flat.is_complex() else flat == flat.round()).all())
        if not whole:
            jitter = 1 + 0.2 * (torch.rand(count, generator=generator, dtype=torch.float64) - 0.5)
            picked = picked * jitter.to(picked.device, picked.real.dtype if picked.is_complex() else picked.dtype)
    return structured(given, picked.reshape(tuple(shape)))


def structured(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Give `value` what holds of `given`: range [0, 1], rows that sum to one, symmetry, a triangle, sorted rows."""
    if not is_differentiable(given) or given.is_complex() or not given.numel() or not value.numel() or not value.ndim:
        return value
    low, high = float(given.min()), float(given.max())
    if low >= 0 and high <= 1:
        value = value.abs().clamp(max=1)
        sums = given.double().sum(-1) if given.ndim else given.double()
        if given.ndim and given.shape[-1] > 1 and bool(((sums - 1).abs() < 1e-3).all()):
            return _one_per_row(given, value)
    elif low >= 0:
        value = value.abs()
    if given.ndim >= 2 and given.shape[-1] == given.shape[-2] > 1 and value.shape[-1] == value.shape[-2]:
        if torch.equal(given, given.mT):
            return (value + value.mT) / 2
        for keep in (torch.tril, torch.triu):
            if torch.equal(given, keep(given)):
                return keep(value)
    if given.ndim and given.shape[-1] > 3 and bool((given.diff(dim=-1) > 0).all()):
        return value.sort(-1).values
    return value


def _one_per_row(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if bool(((given == 0) | (given == 1)).all()):
        place = torch.rand(value.shape, generator=torch.Generator().manual_seed(value.numel()))
        return (place == place.amax(-1, keepdim=True)).to(value)
    value = value + 0.05
    return value / value.sum(-1, keepdim=True)


def valid(context: Context, case: Case) -> bool:
    """Whether an op's own specs and validators let the case through."""
    op = context.base.subject.op
    if op is None:
        return True
    try:
        op.validate(case.inputs, dict(case.options))
    except InvalidArgument:
        return False
    except Exception:  # a validator that was not written for this is no reason to crash
        return False
    return True


def _finite_forward(context: Context, case: Case) -> bool:
    recording = context.record(case)
    if isinstance(recording, Exception):
        return False
    return all(bool(torch.isfinite(o).all()) for o in recording.outputs if is_differentiable(o))


def _known(context: Context) -> set[tuple[str | None, str | None]]:
    known = {(f.op, f.gradient) for f in context.base.findings if f.severity == "error"}
    return known | {(None, context.name(i)) for i in context.wrong}


def _truth(examination: Examination, index: int) -> torch.Tensor | None:
    try:
        found = examination.oracle.truth().gradients.get(Key("input", index))
    except Exception:  # no truth, as where the forward cannot be followed
        return None
    return None if found is None else found.detach()


def _excused(examination: Examination, finding: Finding) -> bool:
    """Whether the truth itself shows that the forward works in float32 inside, and the gradient is right at that precision."""
    names = examination.subject.names
    if finding.gradient not in names or finding.op:
        return False
    index = names.index(finding.gradient)
    actual, truth = examination.returned[index] if index < len(examination.returned) else None, _truth(examination, index)
    if truth is None or not isinstance(actual, torch.Tensor) or actual.shape != truth.shape or truth.is_complex():
        return False
    inside = next((d for d in (torch.bfloat16, torch.float16, torch.float32) if torch.equal(truth.to(d).double(), truth)), None)
    if inside is None or not bool((truth != truth.round()).any()) or truth.numel() < 4:
        return False
    return judge(actual, truth, inside, roundings=64 if inside == torch.float32 else 4).passed
