"""A kernel touches the elements of its tensors and nothing else: neither before them, nor behind, nor in the gaps of a view."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.kernels.launches import MONITOR, Outside, Watching
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding, Severity
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.kernel_calls import KernelCall, kernel_calls, run_watched


def kernel_memory(context: Context) -> Iterator[Finding]:
    """Look at every access of the interpreted kernels, at the user's sizes and at sizes beside those of the kernels' blocks.

    A read outside matters where other numbers there change an output or a gradient; else it is a warning.
    """
    told: set[tuple[str, str, str]] = set()
    for call in kernel_calls(context):
        new = [each for each in call.seen.outside if _key(each) not in told]
        if not new or not call.is_implied(context):
            continue
        told |= {_key(each) for each in new}
        changed = _changed(context, call) if any(each.kind == "reads" for each in new) else ""
        for each in new:
            yield _finding(each, call, changed)
    calls = kernel_calls(context)
    if calls and not told:
        yield from _in_gaps(context, calls[0])


def _key(found: Outside) -> tuple[str, str, str]:
    return found.kernel, found.argument, found.kind


def _changed(context: Context, call: KernelCall) -> str:
    """What other numbers outside of the tensors change: an output or a gradient; empty where they change neither."""
    other, _, _ = run_watched(context, call.case, Watching(canary=1.0))
    if other.error is not None:
        return "what the call does"
    for i, (mine, before) in enumerate(zip(other.gradients, call.run.gradients, strict=False)):
        if not context.equal(mine, before):
            return f"the gradient of {context.label(i)}"
    pairs = zip(other.outputs, call.run.outputs, strict=False)
    return "" if all(context.equal(mine, before) for mine, before in pairs) else "the output"


def _in_gaps(context: Context, call: KernelCall) -> Iterator[Finding]:
    """Run the user's call on views whose elements lie apart, of which the kernel may not touch what lies between."""
    inputs = tuple(_apart(v) if is_differentiable(v) and v.ndim else v for v in copy_inputs(call.case.inputs))
    closed = frozenset(v.untyped_storage().data_ptr() for v in inputs if is_differentiable(v) and v.ndim)
    with MONITOR.watch(Watching(closed=closed)) as seen:
        _run_on(context, inputs, call.case)
    for each in seen.outside:
        if each.kind == "writes":
            yield _finding(each, call, "", "inputs that are views of every other column")


def _run_on(context: Context, inputs: tuple[object, ...], case: Case) -> Run:
    recording = context.record_on(inputs, case)
    if isinstance(recording, Exception):
        return Run(error=recording)
    return context.backward(recording, case.grad_outputs or (), case.seed)


def _apart(value: torch.Tensor) -> torch.Tensor:
    wide = torch.zeros((*value.shape[:-1], 2 * value.shape[-1]), dtype=value.dtype)
    view = wide[..., ::2]
    view.copy_(value.detach())
    return view.requires_grad_(value.requires_grad)


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
