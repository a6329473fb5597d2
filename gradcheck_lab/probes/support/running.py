"""Run probes on an examined case, and merge what they find with what the comparison found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby

from gradcheck_lab.calls.lost_device import refuse_lost_device
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.examination.examined import Examined, PiecewiseTruth
from gradcheck_lab.examination.one_finding_a_mistake import merge_findings
from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.model.exceptions import Contained, DeviceLost
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.model.watching import probing, refuse_without_memory, watches
from gradcheck_lab.probes.poison import poison_in_pieces
from gradcheck_lab.probes.state import overwritten
from gradcheck_lab.probes.support.context import Context, Inconclusive, Probe, Yielded
from gradcheck_lab.probes.support.dirty_memory import names_replaced
from gradcheck_lab.probes.support.repeats import is_repeatable, repetition
from gradcheck_lab.probes.support.unchecked_labels import labels_checked
from gradcheck_lab.probes.support.unwritten import CallLog, LoggedCall, named_unwritten
from gradcheck_lab.subjects.run_lines.watch import running

# run even where the call cannot be repeated, which is what they report; other derived calls mean nothing then
FOR_ANY_CALL = ("state", "second_backward", "poison", "registration")
# have torch call the user's code by themselves, after a forward rather than within one
OUTSIDE_OF_RUNS = ("double_backward", "vmap", "forward_mode")
# let torch's compiler look at the code, which reads the names that other probes replace
WITH_THE_COMPILER = ("registration", "compiled")
# raise what a probe itself raises, as this project's own tests want it, instead of reporting a note
STRICT = False
Tell = Callable[[Examined], object]


def nothing(examined: Examined) -> None:
    """Tell nobody."""


def run_probes(
    registered: Mapping[str, Probe], examined: Examined, names: Collection[str | Probe], order: int = 1, tell: Tell = nothing
) -> Examined:
    """Run the named ones of the registered probes in their order, then those passed as functions; merge all findings.

    None is run where the examination ended early, or where the oracles contradict each other. With `order=2` second
    derivatives are compared whatever the names are. `tell` is given what is known after each probe, in a worker process.
    """
    decided = any(each.result.verdict != "inconclusive" for each in examined.comparisons)
    if not decided or not examined.returned or examined.reasons:
        return _named_forward(examined, registered, names)
    as_given = LoggedCall(examined.case.inputs, examined.case.options, examined.case.grad_outputs)
    if "poison" in names:
        examined = replace(examined, findings=tuple(named_unwritten(examined.subject, [as_given], examined.findings)))
    log, given = CallLog(), examined
    examined = log.watch(examined)
    whole = Context(examined, order)
    # probes derive their calls from a piece of a large call; that it can be repeated is seen on the whole one
    context = Context(examined.truth.piece, order) if isinstance(examined.truth, PiecewiseTruth) else whole
    found: list[Yielded] = []
    chosen: Collection[str | Probe] = {*names, "double_backward"} if order == 2 else names
    try:
        for compiles, group in groupby((n for n in registered if n in chosen), lambda name: name in WITH_THE_COMPILER):
            with nullcontext() if compiles else functions_of_torch_replaced():
                for name in group:
                    if name not in FOR_ANY_CALL and not is_repeatable(context):
                        continue
                    log.calls.clear()
                    examined.runner.evaluations.looking = 0  # a probe that finds much takes nothing from the next
                    in_pieces = name == "poison" and context is not whole
                    probe = partial(poison_in_pieces, whole) if in_pieces else registered[name]
                    yielded = _run(name, probe, whole if name == "second_backward" else context)
                    calls = [*log.calls, as_given] if name == "second_backward" else log.calls
                    found += named_unwritten(given.subject, calls, yielded)
                    if watches:
                        tell(_with(given, found))
        for function in (probe for probe in names if callable(probe)):
            found += _run_own(function, context)
        if len(names) > 0 and "second_backward" not in names and repetition(context).outcome == "raises":
            found.append(Inconclusive("no further call was compared: the call raises when it is made again"))
        if "state" in names:
            found += _run("state", overwritten, context)
        if order == 2 and not is_repeatable(context):
            found.append(Inconclusive("the second derivative was not compared: the call does not give the same when repeated"))
    except DeviceLost as lost:
        lost.known = _with(given, found)
        raise
    probing()
    return _with(given, found)


@contextmanager
def functions_of_torch_replaced() -> Iterator[None]:
    """A block in which names of torch's are replaced, once for many calls: for `dirty_memory`, and to look at labels."""
    with names_replaced(), labels_checked():
        yield


def _named_forward(examined: Examined, registered: Mapping[str, Probe], names: Collection[str | Probe]) -> Examined:
    """The same, with a forward that is not the reference's named by the memory that it leaves unwritten, if it does."""
    if not (registered.keys() & {name for name in names if isinstance(name, str)}):
        return examined
    call = LoggedCall(examined.case.inputs, examined.case.options, None)
    return replace(examined, findings=tuple(named_unwritten(examined.subject, [call], examined.findings)))


def _with(examined: Examined, found: Collection[Yielded]) -> Examined:
    allowed = examined.subject.allowed.causes
    return replace(
        examined,
        comparisons=(*examined.comparisons, *(each for each in found if isinstance(each, Comparison))),
        findings=tuple(merge_findings(examined.findings, [each for each in found if isinstance(each, Finding)], allowed)),
        reasons=(*examined.reasons, *(each.reason for each in found if isinstance(each, Inconclusive))),
    )


def _run_own(function: Probe, context: Context) -> list[Yielded]:
    """Return what a probe of the user's finds; where it raises or yields something else, the verdict is inconclusive."""
    found: list[Yielded] = []
    probing(name_of(function))
    try:
        with Contained():
            found.extend(function(context))
    except Exception as error:
        refuse_lost_device(error, context.case.inputs)
        found.append(Inconclusive(f"the probe {name_of(function)} raised {class_and_line(error)}"))
    other = next((each for each in found if not isinstance(each, (Finding, Comparison, Inconclusive))), None)
    if other is not None:
        found.append(Inconclusive(f"the probe {name_of(function)} yielded {quoted(other)}; yield findings"))
    return found


def _run(name: str, probe: Probe, context: Context) -> list[Yielded]:
    """Return what a probe finds; where the probe itself raises, a note says so and the other probes still run."""
    found: list[Yielded] = []
    probing(name)
    try:
        with warnings.catch_warnings():  # those of the user's code were shown when the call itself ran
            warnings.simplefilter("ignore")
            with running(name) if name in OUTSIDE_OF_RUNS else nullcontext():
                found.extend(probe(context))
    except Exception as error:
        refuse_without_memory(error)
        refuse_lost_device(error, context.case.inputs)
        if STRICT:
            raise
        text = f"the probe {name} failed: {class_and_line(error)}"
        found.append(
            Finding("unsupported", "note", text, explanation="a defect of gradcheck_lab; please report it", probe=name)
        )
    return found
