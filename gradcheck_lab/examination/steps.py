"""The graph of a checked program for its report: each step with what became of its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradcheck_lab.comparison.isolated_rule import call_label
from gradcheck_lab.comparison.program import labels
from gradcheck_lab.engine.links import Link
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.findings import Finding, GradientResult
from gradcheck_lab.model.steps import Kind, State, Step


def steps_of(examined: Examined, gradients: Sequence[GradientResult], findings: Sequence[Finding]) -> tuple[Step, ...]:
    """The inputs and steps of a program in the order in which they ran; none of anything else."""
    run, subject = examined.run, examined.subject
    if run is None or not run.calls:
        return ()
    names = labels(run.calls, subject.names)
    of_calls: dict[int, list[str]] = {}
    for key, name in names.items():
        of_calls.setdefault(key.first, []).append(name)
    compared = {gradient.name: gradient for gradient in gradients}
    wrong = {finding.op for finding in findings if finding.severity == "error" and finding.op is not None}

    def step(link: Link) -> Step:
        if link.input is not None:
            label = subject.names[link.input]
            kind: Kind = "parameter" if link.input in subject.parameters else "input"
            return _step(link, label, kind, [label], compared, set())
        if link.call is None:
            return _step(link, link.name.strip("_"), "native", [], compared, set())
        call = run.calls[link.call]
        return _step(link, call_label(call), "op", of_calls[link.call], compared, wrong)

    return tuple(map(step, run.links()))


def _step(
    link: Link, label: str, kind: Kind, names: Sequence[str], compared: Mapping[str, GradientResult], wrong: set[str]
) -> Step:
    results = [compared[name] for name in names if name in compared]
    return Step(label, kind, link.inputs, tuple(r.name for r in results), _state(label, kind, results, wrong), link.is_output)


def _state(label: str, kind: Kind, results: Sequence[GradientResult], wrong: set[str]) -> State:
    if label in wrong:
        return "wrong"
    if any(result.contaminated_by is not None for result in results):
        return "contaminated"
    if any(result.verdict == "fail" for result in results):
        return "wrong"
    return "right" if results or kind == "op" else "not compared"
