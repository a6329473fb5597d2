"""The verb `compare`: gradients that somebody already has, such as those of a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import wrong_finding
from gradcheck_lab.comparison.finished import Evidences, Finished, Pair, Wrong, as_tensor, compare_pair
from gradcheck_lab.comparison.notebook import HandMade
from gradcheck_lab.comparison.notebook_causes import attributed
from gradcheck_lab.comparison.notebook_noise import Bounds, NotebookNoise
from gradcheck_lab.comparison.pairs import Pairs, pairs_of_notebook, pairs_of_sides
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence, Explanation, PartialGradient, explain
from gradcheck_lab.diagnosis.fan_out import missing_uses
from gradcheck_lab.diagnosis.retained_uses import incomplete_gradients
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import Wrt, reading, wanted_of, wrt_of
from gradcheck_lab.model.coverage import COMPARED, Coverage
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.precision import widened
from gradcheck_lab.oracles.numeric.scalar_problem import rms
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.compare_call import compare_line


def compare(manual: Any, reference: Any = None, wrt: Wrt | None = None) -> Report:
    """Compare finished gradients: `manual` with `reference`, tensors, arrays, or mappings or sequences of them.

    A reference that requires grad stands for its own `.grad`. Given one mapping alone, such as `globals()` of a notebook,
    every gradient made by hand, `X.grad_`, `dX`, `d_X`, `grad_X`, `X_grad`, `gX` or `grads["X"]`, is compared with the `.grad`
    of the tensor `X`; an intermediate keeps that after `X.retain_grad()`. What rounding may do to each follows from what it was
    computed from, and one that is wrong only because of another is marked. `wrt` names the gradients that are wanted, or gives
    their positions; the others are left out. Shapes have to be the same; nothing is broadcast. Neither side is the truth here,
    so a difference between rounding and a mistake is `inconclusive`.

    Returns a `Report`. Raises `InvalidArgument` when there is nothing to compare or the two sides do not match up.

    >>> import torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad_ = 2 * x.detach()
    >>> compare({"x": x}).verdict
    'pass'
    """
    started = time.perf_counter()
    with preserved_state(), reading("the gradients"):
        found = pairs_of_notebook(manual) if reference is None else pairs_of_sides(manual, reference)
        report = _compared(found, wrt_of(wrt), started)
    return report if report.verdict == "pass" else replace(report, reproduce=compare_line(manual, reference, wrt))


def compare_made(values: Mapping[str, Any], is_made: Callable[[HandMade], bool], wrt: Wrt | None = None) -> Report:
    """Compare those gradients of a notebook's variables that `is_made` picks, such as those of one cell.

    All variables say what rounding may do to a gradient, and what explains it. Raises `InvalidArgument` as `compare` does.
    """
    started = time.perf_counter()
    with preserved_state(), reading("the gradients"):
        report = _compared(pairs_of_notebook(values, is_made), wrt_of(wrt), started)
    return report if report.verdict == "pass" else replace(report, reproduce=compare_line(values, None, wrt))


def _compared(found: Pairs, wrt: tuple[str | int, ...] | None, started: float) -> Report:
    pairs = found.pairs
    unwanted = () if wrt is None else _unwanted(pairs, wrt)
    pairs = [p for k, p in enumerate(pairs) if k not in unwanted]
    empty = [p.name for p in pairs if _is_empty(p)]
    pairs = [p for p in pairs if p.name not in empty]
    if not pairs:
        which = f"{empty[0]!r} has" if len(empty) == 1 else f"{', '.join(map(repr, empty))} have"
        raise InvalidArgument(f"nothing to compare: {which} no elements; pass gradients that have some")
    others = [p for p in found.others if not _is_empty(p)]
    comparisons, findings = _asked_for(pairs, *_together([*pairs, *others], found.variables))
    gradients = tuple(comparison.result for comparison in comparisons)
    reasons = tuple(gradient.reason for gradient in gradients if gradient.reason)
    elsewhere = len(found.others) + len(pairs) - len(comparisons)
    uncompared = ["not wanted"] * len(unwanted) + ["no elements"] * len(empty) + ["made in another cell"] * elsewhere
    uncompared += found.left_out
    uncompared += ["inconclusive" if g.reason else COMPARED for g in gradients]
    return Report(
        verdict=verdict_of(gradients, findings, reasons),
        subject="gradients",
        kind="gradients",
        gradients=gradients,
        findings=tuple(findings),
        oracle="autograd, as retained in .grad" if found.variables is not None else "the gradients that were given",
        sensitivity={c.result.name: c.sensitivity for c in comparisons},
        evaluations={"forward": 0, "backward": 0},
        seconds=time.perf_counter() - started,
        reasons=reasons,
        environment=environment(),
        coverage=(Coverage.of("gradient", uncompared),),
    )


def _asked_for(
    pairs: Sequence[Pair], comparisons: Sequence[Comparison], findings: Sequence[Finding]
) -> tuple[list[Comparison], list[Finding]]:
    """What was found of these pairs, and of other gradients that one of them is wrong because of."""
    names = {p.name for p in pairs}
    culprits = {c.result.contaminated_by for c in comparisons if c.result.name in names}
    names |= {c.result.name for c in comparisons if repr(c.result.name) in culprits}
    return [c for c in comparisons if c.result.name in names], [
        f for f in findings if f.gradient is None or f.gradient in names
    ]


def _together(pairs: Sequence[Pair], variables: Mapping[str, Any] | None) -> tuple[list[Comparison], list[Finding]]:
    """Compare all pairs: those of a notebook by what its graph says of them, others each alone."""
    references = {p.name: p.reference for p in pairs if p.reference is not None}
    tensors = {n: v for n, v in (variables or {}).items() if isinstance(v, torch.Tensor)}
    values = {name: tensor.detach() for name, tensor in tensors.items()}
    noise = NotebookNoise(tensors, _both(pairs))

    def evidences(slot: Slot) -> Callable[[torch.Tensor, torch.Tensor], Evidence]:
        def paths() -> Iterable[PartialGradient]:
            own = tensors.get(slot.name)
            return () if own is None else incomplete_gradients(noise.backward, own)

        def evidence(actual: torch.Tensor, expected: torch.Tensor) -> Evidence:
            return Evidence(slot.name, actual, expected, slot.dtype, values, references, paths=paths, assigned=True)

        return evidence

    if variables is None:
        scale = max((rms(widened(value.detach())) for value in references.values()), default=0.0)
        return _alone([compare_pair(pair, evidences, Bounds(), scale) for pair in pairs], evidences)
    finished = [compare_pair(pair, evidences, *noise.allowed(pair.tensor)) for pair in pairs]
    return attributed(finished, noise, lambda wrong, expected: _explained(wrong, expected, evidences))


def _both(pairs: Sequence[Pair]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The tensors of the pairs, each with its hand-made gradient where that has the shape of the retained one."""
    for pair in pairs:
        manual = as_tensor(pair.manual, pair.name, "manual")
        if pair.tensor is None or pair.reference is None or manual is None:
            continue
        if manual.shape == pair.reference.shape and manual.device == pair.reference.device:
            yield pair.tensor, manual.detach()


def _unwanted(pairs: Sequence[Pair], wrt: tuple[str | int, ...]) -> frozenset[int]:
    """The pairs, by position, that `wrt` leaves out."""
    names = [p.name for p in pairs]
    return frozenset(range(len(names))) - wanted_of(wrt, "the gradients", names, range(len(names)))


def _is_empty(pair: Pair) -> bool:
    """Whether both sides are tensors of one shape without an element in it."""
    sides = [as_tensor(pair.manual, pair.name, "manual"), pair.reference]
    return all(side is not None and not side.numel() for side in sides) and sides[0].shape == sides[1].shape  # type: ignore[union-attr]


def _explained(wrong: Wrong, expected: torch.Tensor, evidences: Evidences) -> Explanation:
    evidence = evidences(wrong.slot)(wrong.manual, expected)
    # here the uses of a tensor are the user's own lines, so that a lost one says most
    return missing_uses(evidence) or explain(evidence)


def _alone(finished: Sequence[Finished], evidences: Evidences) -> tuple[list[Comparison], list[Finding]]:
    """The comparisons of gradients that nothing connects, and their findings."""
    findings = list[Finding]()
    for each in finished:
        findings += each.comparison.findings
        if each.wrong is not None:
            first, wrong, result = _explained(each.wrong, each.wrong.expected, evidences), each.wrong, each.comparison.result
            findings += [wrong_finding(wrong.slot, result, wrong.found, e, wrong.manual) for e in (first, *first.also)]
    return [each.comparison for each in finished], findings
