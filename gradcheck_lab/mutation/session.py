"""Mutants of every backward that the tests of a session of pytest run, where the tests lie beside the code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from gradcheck_lab.edits.applied import functions_alive
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.edits.kinds.memory import Detach
from gradcheck_lab.edits.written import Written, written_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import apart
from gradcheck_lab.model.mutants import Mutant, Outcome
from gradcheck_lab.mutation.by_check import CheckCall, Noticed, Original, mutant_of, noticed_by_check, original_of
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.runs import Made, Runs
from gradcheck_lab.rules.methods import methods_of
from gradcheck_lab.rules.op import ops_alive
from gradcheck_lab.torch_internals import custom_ops
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.outcome import Returned

_FIRST_ORDER = [kind for kind in MISTAKES if kind.name != Detach().name]  # tests of first derivatives cannot notice that
_UNKNOWN = Noticed("not run")


def mutate_session(items: Sequence[Any], root: Path, config: Any, seconds: float) -> list[MutationReport]:
    """Edit every backward under `root` that these tests run, and run the tests on each edit.

    A mutant that they do not notice is checked on a call that they made, which tells whether it is equivalent. An edit may
    take `seconds` longer than all tests do.
    """
    found = list(backwards_under(root))
    runs = Runs(config)
    baseline = runs.baseline(items, [written for _, written in found])
    reports = []
    for (subject, written), touching, made in zip(found, baseline.touching, baseline.calls, strict=True):
        touched = [item for item in items if item.nodeid in touching and item.nodeid not in baseline.failed]
        if touched:
            edits = edits_of(subject, _FIRST_ORDER)
            tested = runs.on_edits(touched, edits, baseline.seconds + seconds)
            mutants = _judged(subject, edits, tested.outcomes, made, seconds)
            reports.append(MutationReport(written[0].name, mutants, tests="pytest", touching=tested.touching))
    return reports


def backwards_under(root: Path) -> Iterator[tuple[Any, tuple[Written, ...]]]:
    """What has a hand-written backward in a file under a folder, each once, with the functions of the backward."""
    seen: set[Any] = set()
    subjects: tuple[Any, ...] = (*functions_of_torch(), *ops_alive(), *custom_ops().values(), *_layers(root))
    for subject in subjects:
        try:
            written = written_of(subject)
        except (InvalidArgument, TypeError):
            continue
        code, path = written[0].function.__code__, Path(written[0].path)
        if code not in seen and path.is_relative_to(root) and "site-packages" not in path.parts:
            seen.add(code)
            yield subject, written


def functions_of_torch(kind: Any = torch.autograd.Function) -> Iterator[Any]:
    """Every `autograd.Function` that is alive."""
    for each in kind.__subclasses__():
        yield each
        yield from functions_of_torch(each)


def _layers(root: Path) -> Iterator[type]:
    """The classes with a forward and a backward in imported modules under a folder."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(root):
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == module.__name__ and methods_of(value) is not None:
                    yield value


def _judged(
    subject: Any, edits: Sequence[Edit], outcomes: Sequence[tuple[Outcome, str]], made: Made | None, seconds: float
) -> tuple[Mutant, ...]:
    """The mutants, those that the tests missed after a check."""
    original = None if made is None or all(outcome != "missed" for outcome, _ in outcomes) else _original(subject, made)
    among = functions_alive(edits[0].path) if edits else ()
    mutants = []
    for edit, (outcome, by) in zip(edits, outcomes, strict=True):
        noticed = _UNKNOWN if original is None or outcome != "missed" else _checked(original, edit, among, seconds)
        mutants.append(mutant_of(edit, noticed, outcome, by))
    return tuple(mutants)


def _checked(original: Original, edit: Edit, among: Sequence[FunctionType], seconds: float) -> Noticed:
    ended = apart(lambda line: noticed_by_check(original, edit, among), edit.function, Limits(seconds))
    if isinstance(ended.outcome, Returned):
        found: Noticed = ended.outcome.value
        return found
    return Noticed("noticed", type(ended.outcome).__name__, f"the check {ended.outcome}")


def _original(subject: Any, made: Made) -> Original | None:
    """The check of the call that the tests made; None where it does not pass, so that nothing follows from it."""
    inputs, options = made
    try:
        return original_of(CheckCall(subject, inputs, options, None, 1, (), None, 0))
    except InvalidArgument:
        return None


def summary_of(reports: Sequence[MutationReport]) -> str:
    """`gradients: 41 of 42 mutants noticed by your tests`."""
    counted = sum(len(report.counted) for report in reports)
    missed = sum(len(report.unnoticed_by_tests) for report in reports)
    return f"gradients: {counted - missed} of {counted} mutants noticed by your tests"
