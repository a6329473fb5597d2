"""What one backward returned, entry by entry against the truth; and the rule of one call run alone on the oracle's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.comparison.allowed_elsewhere import Made, with_allowed_swap, with_allowed_upstream
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.first_looks import Entry, First, error_of_truth, first_looks
from gradcheck_lab.comparison.further_draws import Draw, FurtherDraws, on_further_draws
from gradcheck_lab.comparison.gradient import compare_gradient
from gradcheck_lab.comparison.noise import without_jumps
from gradcheck_lab.comparison.own_noise import OwnNoise, size_of_terms
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.limits import RERUN_ELEMENTS
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.autograd.questions import Reruns
from gradcheck_lab.oracles.autograd.subgradients import Subgradients
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.contained import comparable
from gradcheck_lab.subjects.run_lines.held import histories
from gradcheck_lab.subjects.subject import Key, Subject
from gradcheck_lab.torch_internals import DispatchMode, schema

_OF_TORCH = ("aten::", "prim::", "prims::")


def compare_returned(
    subject: Subject,
    returned: Any,
    oracle: AutogradOracle,
    truth: Pass,
    outputs: Mapping[str, torch.Tensor],
    op: str | None = None,
    shares: int | None = None,
    margin: float = 1.0,
    noise: OwnNoise | None = None,
    draws: FurtherDraws | None = None,
    delivered: bool = False,
) -> list[Comparison]:
    """Compare what one backward returned, entry by entry, with the truth of its inputs.

    With `shares`, the inputs are those of that call within a program. Errors count from `margin` times their budget on; `noise`
    is the backward's own. An explanation of a wrong gradient has to hold on one of `draws` too, where these are given; with
    `delivered`, what torch's engine made of the backward is compared. A forward that casts to a narrower dtype on its way has
    the precision of that, and the truth is the gradient without the cast: autograd rounds there as well.
    """
    grads = [comparable(value) for value in as_tuple(returned)]
    judged = _first_looks(subject, grads, oracle, truth, shares, margin)
    right = frozenset(subject.names[i] for i, found in judged.items() if found.judgement.passed)
    wrong = len(right) < len(judged)
    if wrong and (lifted := oracle.without_casts()) is not None:
        oracle, truth, judged = lifted, lifted.truth(), {}
    case, names, expected = oracle.case, subject.names, _expected(subject, oracle.case, truth, shares)
    references = {names[i]: g for i, g in expected.items() if g is not None}
    subgradients = Subgradients(oracle)
    settled = {i for i, found in judged.items() if found.judgement.passed}
    term = 1.0 if settled >= expected.keys() else size_of_terms(case.inputs)
    compared = []
    for i, true in expected.items():
        value, key = case.inputs[i], Key("input", i)
        off = error_of_truth(oracle.truth_roundoff, judged[i].truth if i in judged else true)
        slot = Slot(
            names[i], subject.labels[i], tuple(value.shape), value.dtype, value.device, op, truth_error=off, margin=margin,
            allowed=subject.allowed, others=tuple(names[j] for j in expected if j != i and grads[j] is not None),
            kept=subject.kept, term=term,
        )  # fmt: skip
        again = on_further_draws(draws, partial(_evidence_of_draw, subject, slot, i, delivered))
        evidence = partial(_evidence, subject, oracle, outputs, references, slot, i, again, right=right)
        known, around = references_of(oracle, key, value.dtype, noise), partial(subgradients.intervals, key)
        found = compare_gradient(slot, grads[i], true, known, evidence, around, judged.get(i))
        if found.result.verdict == "fail" and subject.allowed.causes:
            entry = _Entry(subject, slot, i, grads[i], oracle, noise, draws, delivered)
            found = with_allowed_upstream(found, slot, case.grad_outputs or (), entry.at_another_upstream)
            found = with_allowed_swap(found, slot, {names[j]: partial(entry.against, oracle, j) for j in expected if j != i})
        compared.append(found)
    return compared


def _expected(subject: Subject, case: Case, truth: Pass, shares: int | None) -> dict[int, torch.Tensor | None]:
    """The true gradient of each input that is compared, or what a call within a program contributes to it; None for zero."""
    return {
        i: truth.gradients.get(Key("input", i) if shares is None else Key("share", shares, i))
        for i, value in enumerate(case.inputs)
        if is_differentiable(value) and i not in subject.constants
    }


def _first_looks(
    subject: Subject, grads: Sequence[Any], oracle: AutogradOracle, truth: Pass, shares: int | None, margin: float
) -> dict[int, First]:
    """The first look at each gradient whose structure is right."""
    entries = {}
    for i, true in _expected(subject, oracle.case, truth, shares).items():
        value = oracle.case.inputs[i]
        if i < len(grads) and is_differentiable(grads[i]) and true is not None and grads[i].layout == torch.strided:
            actual = grads[i].detach()
            if (actual.shape, actual.device, actual.is_complex()) == (value.shape, value.device, true.is_complex()):
                entries[i] = Entry(actual, true.to(actual.device), value.dtype)
    return first_looks(entries, oracle.truth_roundoff, margin)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A wrong gradient that may, as the user allows, be the true one of another upstream or of another input."""

    subject: Subject
    slot: Slot
    index: int
    actual: Any
    oracle: AutogradOracle
    noise: OwnNoise | None
    draws: FurtherDraws | None
    delivered: bool

    def at_another_upstream(self, made: Made) -> Comparison:
        """Compare it with the truth for the upstream that is made of the given one."""
        again = partial(_evidence_of_draw, self.subject, self.slot, self.index, self.delivered)
        return self.against(
            _with_upstream(self.oracle, made), self.index,
            on_further_draws(self.draws, lambda draw: again(replace(draw, oracle=_with_upstream(draw.oracle, made)))),
        )  # fmt: skip

    def against(self, oracle: AutogradOracle, index: int, again: Callable[[], Iterable[Evidence]] | None = None) -> Comparison:
        """Compare it with what an oracle says of an input."""
        truth, key, subject, slot = oracle.truth(), Key("input", index), self.subject, self.slot
        others = {subject.names[k.first]: g for k, g in truth.gradients.items() if k.role == "input" and g is not None}
        evidence = partial(_evidence, subject, oracle, outputs_by_name(truth), others, slot, index, again)
        around = partial(Subgradients(oracle).intervals, key)
        known = references_of(oracle, key, slot.dtype, self.noise)
        return compare_gradient(slot, self.actual, truth.gradients.get(key), known, evidence, around)


def _with_upstream(oracle: AutogradOracle, made: Made) -> AutogradOracle:
    case = replace(oracle.case, grad_outputs=made(oracle.case.grad_outputs or ()))
    return AutogradOracle(oracle.runner, case, oracle.copies)


def _evidence(
    subject: Subject,
    oracle: AutogradOracle,
    outputs: Mapping[str, torch.Tensor],
    references: Mapping[str, torch.Tensor],
    slot: Slot,
    index: int,
    again: Callable[[], Iterable[Evidence]] | None,
    actual: torch.Tensor,
    expected: torch.Tensor,
    right: frozenset[str] = frozenset(),
) -> Evidence:
    """What the diagnosis of a wrong gradient may look at, and ask the oracle."""
    case = oracle.case
    named = dict(zip(subject.names, case.inputs, strict=True))
    reruns = Reruns(oracle, index)
    return Evidence(
        name=slot.name,
        actual=actual.detach(),
        expected=expected,
        dtype=slot.dtype,
        tensors={name: v for name, v in named.items() if isinstance(v, torch.Tensor)} | dict(outputs),
        references=references,
        upstream=case.grad_outputs or (),
        precision=slot.truth_error,
        options={name: v for name, v in named.items() if not isinstance(v, torch.Tensor)} | dict(case.options),
        assigned=subject.keeps_last_call,
        paths=reruns.paths,
        unreduced=reruns.unreduced,
        conjugated=reruns.conjugated,
        reversed=reruns.reversed,
        variations=reruns.variations,
        less_likely=reruns.less_likely,
        neighbours=reruns.neighbours,
        narrowed=reruns.narrowed,
        values=reruns.values,
        held=partial(_held, oracle),
        operators=partial(_operators, oracle),
        right=right,
        again=again,
    )


def _held(oracle: AutogradOracle, shape: tuple[int, ...]) -> list[list[torch.Tensor]] | None:
    """What the variables of the hand-written backward hold of this shape, one after the other, on the oracle's case."""
    case, runner = oracle.case, oracle.runner
    if case.grad_outputs is None or sum(v.numel() for v in case.inputs if is_differentiable(v)) > RERUN_ELEMENTS.value:
        return None
    inputs, upstream = copy_inputs(case.inputs), copy_inputs(case.grad_outputs)
    # one function may be forward and backward
    return histories(lambda: runner.backward(runner.record(inputs, case), upstream, case.seed), {shape})


class _OperatorNames(DispatchMode):
    """Keeps the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.names.add(schema(func).name)
        return func(*args, **kwargs)


def _operators(oracle: AutogradOracle) -> frozenset[str] | None:
    """The names of torch's operators that the hand-written side runs on the oracle's case.

    None where it does not run again, and where one is not torch's own: what that computes inside is not seen.
    """
    case, runner = oracle.case, oracle.runner
    if case.grad_outputs is None:
        return None
    inputs, upstream, seen = copy_inputs(case.inputs), copy_inputs(case.grad_outputs), _OperatorNames()
    try:
        with seen:
            runner.backward(runner.record(inputs, case), upstream, case.seed)
    except Exception:
        return None
    return frozenset(seen.names) if all(name.startswith(_OF_TORCH) for name in seen.names) else None


def _evidence_of_draw(subject: Subject, slot: Slot, index: int, delivered: bool, draw: Draw) -> Evidence | None:
    """The same of a further draw of the call; None where that gives no such gradient."""
    found = draw.pair(Key("input", index), delivered)
    if found is None:
        return None
    truth = draw.oracle.truth()
    others = {subject.names[key.first]: g for key, g in truth.gradients.items() if key.role == "input" and g is not None}
    return _evidence(subject, draw.oracle, outputs_by_name(truth), others, slot, index, None, *found)


def outputs_by_name(truth: Pass) -> Mapping[str, torch.Tensor]:
    """The outputs of a forward: `output`, or `output 0` and so on."""
    found: list[Any] = [o for o in truth.outputs if isinstance(o, torch.Tensor)]
    return {"output" if len(found) == 1 else f"output {i}": o.detach() for i, o in enumerate(found)}


def references_of(
    oracle: AutogradOracle, key: Key, dtype: torch.dtype, noise: OwnNoise | None = None
) -> Callable[[str], list[torch.Tensor]]:
    """The reference gradients at `key` by level, from the oracle's passes; `native` adds nothing in float64.

    Where equal values need not be rounded alike, the `noise` of the backward itself is one more, where it is given.
    """

    def references(level: str) -> list[torch.Tensor]:
        if level == "native" and is_wide(dtype):
            return []
        found = [each.gradients.get(key) for each in oracle.references(level, dtype)]
        truth = oracle.truth().gradients.get(key)
        tensors = [value.detach() for value in found if value is not None]
        if level == "native" or truth is None:
            return tensors

        def coarser(times: int) -> list[torch.Tensor]:
            again = [each.gradients.get(key) for each in oracle.references(level, dtype, times)]
            return [value.detach() for value in again if value is not None]

        if level == "simulated" and any(bool((t.isnan() & truth.isfinite()).any()) for t in tensors):
            # at the end of a domain half the samples leave it, and say nothing of rounding there
            more = [each.gradients.get(key) for each in oracle.references("further", dtype)]
            return [*tensors, *(value.detach() for value in more if value is not None)]
        tensors = without_jumps(tensors, truth.detach(), coarser)
        if level != "independent":
            return tensors
        seen = None if noise is None else noise.of(key.first)
        own = [] if seen is None or seen.shape != truth.shape else [truth.detach() + seen.to(truth.device)]
        return [*tensors, *own]

    return references
