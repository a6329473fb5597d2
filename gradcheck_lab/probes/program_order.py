"""The programs of a kernel give the same result in whatever order a device runs them, and where they run at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradcheck_lab.kernels.launches import Order, Watching, most_accesses
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.kernel_calls import KernelCall, kernel_calls, run_watched
from gradcheck_lab.probes.support.repeats import is_gross

_ORDERS: tuple[Order, ...] = ("last to first", "shuffled", "at once")
_IN_WORDS: dict[Order, str] = {
    "first to last": "from the first to the last",
    "last to first": "from the last to the first",
    "shuffled": "in a shuffled order",
    "at once": "at once (each on what was there before the launch)",
}


def program_order(context: Context) -> Iterator[Finding]:
    """Run the programs of all kernels in other orders than from the first to the last, and compare what the call returns."""
    for call in kernel_calls(context):
        kernels = list(dict.fromkeys(launch.kernel for launch in call.seen.launches if launch.programs > 1))
        for order in _ORDERS if kernels else ():
            what = _differs(context, call, order)
            if what is None or not call.is_implied(context):
                continue
            blamed = next((k for k in kernels if _differs(context, call, order, k) is not None), kernels[0])
            yield _finding(context, call, order, blamed, what)
            return


def _differs(context: Context, call: KernelCall, order: Order, only: str = "") -> int | None:
    """The input whose gradient is another one in an order, -1 for an output; None where all are the same."""
    watching = Watching(order, most=most_accesses(call.seen.launches), only=only, seed=call.case.seed)
    run, _, _ = run_watched(context, call.case, watching)
    if run.error is not None:  # a program that waits for another is not run before it
        return None
    return _first_difference(context, run, call.run)


def _first_difference(context: Context, run: Run, before: Run) -> int | None:
    for i, (mine, other) in enumerate(zip(run.gradients, before.gradients, strict=False)):
        if _is_another(context, i, mine, other):
            return i
    pairs = zip(run.outputs, before.outputs, strict=False)
    return -1 if any(_is_another(context, len(context.gradients), mine, other) for mine, other in pairs) else None


def _is_another(context: Context, index: int, mine: Any, other: Any) -> bool:
    if context.equal(mine, other):
        return False
    return mine is None or other is None or is_gross(context, index, mine.detach(), other.detach())


def _finding(context: Context, call: KernelCall, order: Order, kernel: str, index: int) -> Finding:
    what = "output" if index < 0 else f"gradient of {context.label(index)}"
    return Finding(
        "nondeterministic",
        "error",
        f"{what} depends on the order in which the programs of the kernel {kernel} run{call.suffix}",
        gradient=None if index < 0 else context.name(index),
        explanation=f"it is another one where they run {_IN_WORDS[order]} than where they run {_IN_WORDS['first to last']}: "
        "a program reads or overwrites what another writes",
        suggestion="let each program write elements of its own, or add with tl.atomic_add to a buffer of zeros",
        probe="program_order",
        case=call.label or "as given",
    )
