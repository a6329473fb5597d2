"""A kernel touches the elements of its tensors and nothing else: neither before them, nor behind, nor in the gaps of a view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

from gradcheck_lab.calls.case import Case, copy_inputs
from gradcheck_lab.calls.layouts import every_second
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.kernels.launches import Outside, Seen, Watching
from gradcheck_lab.model.amounts import POISON
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding, Severity
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.kernel_calls import KernelCall, kernel_calls, run_in_place, run_watched


def kernel_memory(context: Context) -> Iterator[Finding]:
    """Look at every access of the interpreted kernels, at the user's sizes and at sizes beside those of the kernels' blocks.

    A read outside matters where other numbers there change an output or a gradient; else it is a warning. Where the user's call
    is right, its inputs and upstream gradients are also views with gaps, and the upstream gradients expanded.
    """
    told: set[tuple[str, str, str]] = set()
    calls = kernel_calls(context)
    for call in calls:
        new = [each for each in call.seen.outside if _key(each) not in told]
        if not new or not call.is_implied(context):
            continue
        told |= {_key(each) for each in new}
        changed = ""
        if any(each.kind == "reads" for each in new):
            changed = _changed(context, call.run, partial(_run_watched, context, call))
        for each in new:
            yield _finding(each, call, changed)
    # what is wrong on contiguous tensors has another reason, which a kernel that ignores strides would take the place of
    for laid in _LAID if calls and not context.wrong_inputs else ():
        yield from _outside_of_views(context, calls[0], laid, told)


def _key(found: Outside) -> tuple[str, str, str]:
    return found.kernel, found.argument, found.kind


def _changed(context: Context, run: Run, again: Callable[[Watching], Run]) -> str:
    """What other numbers outside of the tensors change: an output or a gradient; empty where they change neither."""
    for canary in (math.nan, POISON.value):
        other = again(Watching(canary=canary))
        if other.error is not None:
            return "what the call does"
        for i, (mine, before) in enumerate(zip(other.gradients, run.gradients, strict=False)):
            if not context.equal(mine, before):
                return f"the gradient of {context.label(i)}"
        if not all(context.equal(mine, before) for mine, before in zip(other.outputs, run.outputs, strict=False)):
            return "the output"
    return ""


def _rows_apart(value: torch.Tensor) -> torch.Tensor:
    """Its values with a gap behind each row."""
    wide = value.new_zeros((*value.shape[:-1], value.shape[-1] + 3))
    return wide[..., : value.shape[-1]].copy_(value)


def _expanded(value: torch.Tensor) -> torch.Tensor:
    """Ones of its shape, of which all are one element, as the backward of `.sum()` sends."""
    return value.new_ones(()).expand(value.shape)


@dataclass(frozen=True, slots=True)
class _Laid:
    """How upstream gradients lie in memory, and the inputs too unless their values would be others; and words for that."""

    words: str
    apply: Callable[[torch.Tensor], torch.Tensor]
    of_inputs: bool = True


_LAID = (
    _Laid("views of every other column", every_second),
    _Laid("views with a gap behind each row", _rows_apart),
    _Laid("one element expanded", _expanded, of_inputs=False),
)


def _outside_of_views(context: Context, call: KernelCall, laid: _Laid, told: set[tuple[str, str, str]]) -> Iterator[Finding]:
    """New accesses outside of such views in the user's call; inputs stay as they are where the forward takes none like that.

    A read that changes nothing is left out: there is memory in a gap.
    """
    both = laid.of_inputs
    first, seen = _run_laid_out(context, call, laid, both, Watching())
    if both and first.error is not None:
        both = False
        first, seen = _run_laid_out(context, call, laid, both, Watching())
    new = [each for each in seen.outside if _key(each) not in told]
    changed = ""
    if any(each.kind == "reads" for each in new):
        changed = _changed(context, first, lambda watching: _run_laid_out(context, call, laid, both, watching)[0])
    case = f"{'inputs and ' if both else ''}upstream gradients that are {laid.words}"
    for each in new:
        if each.kind == "writes" or changed:
            told.add(_key(each))
            yield _finding(each, call, changed, case)


def _run_watched(context: Context, call: KernelCall, watching: Watching) -> Run:
    return run_watched(context, call.case, watching)[0]


def _run_laid_out(context: Context, call: KernelCall, laid: _Laid, inputs: bool, watching: Watching) -> tuple[Run, Seen]:
    case = _laid_out(call.case, laid, inputs)
    views = tuple(v.detach() for v in (*case.inputs, *(case.grad_outputs or ())) if isinstance(v, torch.Tensor))
    return run_in_place(context, case, replace(watching, views=views))


def _laid_out(case: Case, laid: _Laid, inputs: bool) -> Case:
    copied = copy_inputs(case.inputs)
    upstream = tuple(laid.apply(g.detach()) if _can_be_laid_out(g) else g.clone() for g in case.grad_outputs or ())
    given = tuple(_laid_input(v, laid) if inputs and _can_be_laid_out(v) else v for v in copied)
    return replace(case, inputs=given, grad_outputs=upstream)


def _can_be_laid_out(value: object) -> bool:
    return isinstance(value, torch.Tensor) and what_else(value) is None and value.ndim > 0 and value.numel() > 0


def _laid_input(value: torch.Tensor, laid: _Laid) -> torch.Tensor:
    return laid.apply(value.detach()).requires_grad_(value.requires_grad)


def _finding(found: Outside, call: KernelCall, changed: str, case: str = "") -> Finding:
    matters = found.kind == "writes" or bool(changed)
    severity: Severity = "error" if matters else "warning"
    elements = "element" if found.count == 1 else "elements"
    why = f"{found.count} {elements}, {_distance(found)}, at {found.line}"
    if found.kind == "reads":
        why += f"; what lies there changes {changed}" if changed else "; what lies there changes nothing here"
    where = f", at {case}" if case else call.suffix
    return Finding(
        "out-of-bounds",
        severity,
        f"the kernel {found.kernel} {found.kind} beyond {found.argument}{where}",
        explanation=why,
        suggestion=CAUSES["out-of-bounds"].fix,
        probe="kernel_memory",
        case=case or call.label or "as given",
    )


def _distance(found: Outside) -> str:
    if found.past is None:
        return "far from every tensor"
    if found.past == 0:
        return "between the elements of a view"
    return f"up to {abs(found.past)} {'past its end' if found.past > 0 else 'before its start'}"
