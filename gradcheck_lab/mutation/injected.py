"""Suites that do not use this package: the gradients of every hand-written rule that they run are perturbed, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.edits.written import Written, own_function
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import apart_as
from gradcheck_lab.model.amounts import INJECTED_SCALE
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.limits import INJECTED_GRADIENTS
from gradcheck_lab.model.mutants import Mutant
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.mutation.by_tests import command_of, run_pytest
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.runs import Baseline, Runs, each_run
from gradcheck_lab.mutation.session import functions_of_torch
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.torch_internals import custom_ops, registered_backward, set_registered_backward
from gradcheck_lab.workers.apart import Limits, Line
from gradcheck_lab.workers.outcome import Outcome, Returned

Perturb = Callable[[torch.Tensor], torch.Tensor | None]


def _first_zero(grad: torch.Tensor) -> torch.Tensor:
    """The gradient with its first element that is not zero made zero."""
    changed = grad.clone()
    place = tuple(changed.nonzero()[0])
    changed[place] = 0
    return changed


def _first_nan(grad: torch.Tensor) -> torch.Tensor:
    changed = grad.clone()
    changed[tuple(changed.nonzero()[0])] = float("nan")
    return changed


def _scaled(grad: torch.Tensor) -> torch.Tensor:
    return grad * INJECTED_SCALE.value


PERTURBATIONS: dict[str, tuple[str, Perturb]] = {
    "zeroed": ("one element of {} is zero", _first_zero),
    "scaled": ("{} is a hundredth too large", _scaled),
    "sign": ("{} has the other sign", lambda grad: -grad),
    "nan": ("one element of {} is NaN", _first_nan),
    "none": ("{} is None", lambda grad: None),
}


@dataclass(slots=True)
class _Rule:
    """A hand-written rule: an `autograd.Function`, or a custom op with a registered backward."""

    name: str
    owner: Any
    written: Written

    @property
    def is_class(self) -> bool:
        """Whether it is an `autograd.Function`."""
        return isinstance(self.owner, type)

    @contextmanager
    def perturbed(self, index: int, perturb: Perturb, seen: list[tuple[int, bool]]) -> Iterator[None]:
        """A block in which the rule returns a perturbed gradient of input `index`.

        `seen` gets an entry for each run: how many gradients it returned, and whether there was one to perturb.
        """
        is_class = self.is_class
        original = self.owner.backward if is_class else registered_backward(self.owner)

        def backward(ctx: Any, *upstream: Any) -> Any:
            returned = original(ctx, *upstream)
            grads = list(as_tuple(returned))
            needed = getattr(ctx, "needs_input_grad", ())
            told = index < min(len(grads), len(needed)) and bool(needed[index]) and _is_told(grads[index])
            seen.append((len(grads), told))
            if told:
                grads[index] = perturb(grads[index])
            return tuple(grads) if isinstance(returned, (tuple, list)) else grads[0]

        self._set(staticmethod(backward) if is_class else backward)
        try:
            yield
        finally:
            self._set(staticmethod(original) if is_class else original)

    def _set(self, backward: Any) -> None:
        if self.is_class:
            self.owner.backward = backward
        else:
            set_registered_backward(self.owner, backward)


def _is_told(grad: Any) -> bool:
    return is_differentiable(grad) and grad.layout == torch.strided and bool((grad != 0).any())


def inject(arguments: Sequence[str], seconds: float) -> MutationReport:
    """Run the tests of a suite with every gradient of every hand-written rule perturbed, one at a time.

    `arguments` are those of pytest. Raises `InvalidArgument` where no test runs such a rule.
    """
    command = command_of(arguments)

    def call(line: Line) -> _Injected:
        plugin = _Injecting(seconds)
        code = run_pytest(arguments, plugin)
        ends = f"{command} ends with exit code {code} before any test; run it by itself first"
        return _Injected(plugin.found, refused="") if plugin.found else _Injected(refused=plugin.refused or ends)

    ended = apart_as(_Injected, call, command, Limits(None))
    if not isinstance(ended.outcome, Returned):
        raise InvalidArgument(f"{command} {ended.outcome}; run it by itself first")
    found: _Injected = ended.outcome.value
    if found.refused:
        raise InvalidArgument(found.refused)
    return MutationReport(command, found.mutants, tests=command, environment=environment())


@dataclass(frozen=True, slots=True)
class _Injected:
    """What came of every perturbation, or why none could be made."""

    mutants: tuple[Mutant, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _Perturbed:
    """Whether there was a gradient to perturb, how many the rule returns, and the test that failed."""

    told: bool
    count: int
    by: str


@dataclass(slots=True)
class _Injecting:
    """A plugin that runs the collected tests as they are, and then in forks with one perturbation each."""

    seconds: float
    found: tuple[Mutant, ...] = ()
    refused: str = ""
    rules: list[_Rule] = field(default_factory=list)

    def pytest_runtestloop(self, session: Any) -> bool:
        """All that pytest runs in this session."""
        runs = Runs(session.config)
        self.rules = list(_rules())
        baseline, _ = runs.watched(session.items, [[rule.written] for rule in self.rules])
        # what tests import in their bodies is known only now
        late = [rule for rule in _rules() if all(rule.owner is not known.owner for known in self.rules)]
        if late:
            self.rules += late
            baseline, _ = runs.watched(session.items, [[rule.written] for rule in self.rules])
        found = [mutant for index, rule in enumerate(self.rules) for mutant in self._of(rule, index, runs, session, baseline)]
        if found:
            self.found = tuple(found)
        else:
            self.refused = f"none of the {len(session.items)} tests that pytest collects runs a hand-written rule of torch"
        return True

    def pytest_internalerror(self, excinfo: Any) -> None:
        """What ends a session of pytest before it is done is said."""
        self.refused = f"pytest ends by an error of a plugin, {class_and_line(excinfo.value)} ({excinfo.traceback[-1]})"

    def _of(self, rule: _Rule, number: int, runs: Runs, session: Any, baseline: Baseline) -> Iterator[Mutant]:
        items = [item for item in session.items if item.nodeid in set(baseline.touching[number]) - set(baseline.failed)]
        limits = Limits(baseline.seconds + self.seconds)
        for index in range(INJECTED_GRADIENTS.value) if items else ():
            count = 0
            for kind, (sentence, perturb) in PERTURBATIONS.items():
                run = partial(_run, rule, index, perturb, runs, items)
                found = _result(apart_as(_Perturbed, run, rule.name, limits).outcome, count)
                count = found.count
                if found.told:
                    yield _mutant(rule, kind, sentence.format(f"gradient {index}"), found.by)
            if index + 1 >= count:
                return


def _run(rule: _Rule, index: int, perturb: Perturb, runs: Runs, items: Sequence[Any], line: Line) -> _Perturbed:
    seen: list[tuple[int, bool]] = []
    runs.failed.clear()
    with rule.perturbed(index, perturb, seen):
        for _ in each_run(items):
            if runs.failed:
                break
    told, count = any(told for _, told in seen), max((count for count, _ in seen), default=0)
    return _Perturbed(told, count, runs.failed[0] if runs.failed else "")


def _result(outcome: Outcome, count: int) -> _Perturbed:
    """What a run returned; one that was ended had a gradient to perturb."""
    if not isinstance(outcome, Returned):
        return _Perturbed(True, count, f"the tests {outcome}")
    found: _Perturbed = outcome.value
    return found


def _mutant(rule: _Rule, kind: str, sentence: str, by: str) -> Mutant:
    line = rule.written.function.__code__.co_firstlineno
    tests: Any = "noticed" if by else "missed"
    return Mutant(kind, sentence, rule.name, rule.written.path, line, "", "", "", "not run", tests=tests, by=by)


def _rules() -> Iterator[_Rule]:
    """The hand-written rules that are alive, but those of torch and of this package."""
    for kind in functions_of_torch():
        yield from _rule(kind.__qualname__, kind, kind.backward)
    for name, definition in custom_ops().items():
        yield from _rule(name, definition, registered_backward(definition))


def _rule(name: str, owner: Any, backward: Any) -> Iterator[_Rule]:
    function = own_function(backward) if backward is not None else None
    home = (function.__module__ or "").partition(".")[0] if function is not None else "torch"  # what exec made may have none
    if function is not None and home not in ("torch", "gradcheck_lab"):
        yield _Rule(name, owner, Written(function, "function", None))
