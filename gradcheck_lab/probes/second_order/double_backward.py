"""A backward that torch can differentiate again gives the right second derivative, or says that it has none.

`torch.autograd.grad(..., create_graph=True)` differentiates what the hand-written backward computes. A tensor that forward
computed and saved, a `detach`, `.data`, `no_grad` or NumPy in backward cut it off from the inputs, and the second derivative is
then wrong or zero, in silence. Source: PyTorch, "Double Backward with Custom Functions".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import jittered
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.model.amounts import LONG_NUMBERS
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.oracles.autograd.leaves_autograd import leaves_autograd
from gradcheck_lab.oracles.autograd.second_order import Forward, SecondOrderOracle, differentiated, problem_of_gradients, wide
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.scalar_problem import Directions
from gradcheck_lab.probes.second_order.points import Point, Points, Stopped, filled
from gradcheck_lab.probes.second_order.rows import Row, inputs_beside, row_of, smooth_between, within_noise
from gradcheck_lab.probes.second_order.words import missing, raised, refused, wrong, wrong_by_numbers
from gradcheck_lab.probes.support.context import Context, LeftOpen, Yielded
from gradcheck_lab.probes.support.repeats import compared


def double_backward(context: Context) -> Iterator[Yielded]:
    """Hold the second derivatives against the oracle's, along one random direction of the gradients."""
    if context.wrong or any(finding.severity == "error" for finding in context.findings):
        return  # a wrong gradient has a wrong derivative
    forward = _forward(context)
    if forward is None:
        why = f"torch's engine does not call the backward of {context.subject.name}; write it as a Function"
        yield from _left_open(context, why)
    elif context.order == 2 or _claims_it(context):
        yield from _Search(context, Points(context, forward, compared(context))).findings()


def _claims_it(context: Context) -> bool:
    """Whether users can come upon the second derivative without asking for it: torch's engine runs this backward."""
    subject = context.subject
    return subject.called_by_engine and (subject.user is not None or context.analytic)


def _forward(context: Context) -> Forward | None:
    subject, options = context.subject, context.case.options
    if subject.op is not None:
        function = subject.op.as_function()

        def run(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            output = function(*inputs, **options)
            return tuple(output) if isinstance(output, (tuple, list)) else (output,)

        return run
    connected = subject.connected
    return None if connected is None else lambda inputs: connected(inputs, options)


def _left_open(context: Context, why: str) -> Iterator[LeftOpen]:
    if context.order == 2:
        yield LeftOpen(f"the second derivative was not compared: {why}")


@dataclass(frozen=True, slots=True)
class _Search:
    context: Context
    points: Points

    @property
    def wanted(self) -> list[int]:
        return self.points.wanted

    def findings(self) -> Iterator[Yielded]:
        context = self.context
        generator = torch.Generator().manual_seed((context.case.seed * 1_000_003 + 131) % 2**63)
        directions = {i: _long_numbers(random_like(context.case.inputs[i], generator), generator) for i in self.wanted}
        if not any(direction.numel() for direction in directions.values()):
            return
        point = self._given(directions)
        if isinstance(point, Stopped):
            yield from self._stopped(point)
        elif not point.graph.tracked:
            if any(g is not None and bool(g.any()) for g in point.graph.gradients.values()):
                yield missing(context, point.graph)
        elif point.oracle is None:
            yield from self._by_numbers(point, directions)
        else:
            yield from self._by_oracle(point, point.oracle, directions)

    def _given(self, directions: Directions) -> Point | Stopped:
        """The case as given, in float64 where both sides take that: rounding hides nothing there."""
        case = self.context.case
        narrow = any(is_differentiable(v) and not is_wide(v.dtype) for v in case.inputs)
        if narrow and not self.context.oracle.truth_roundoff:
            found = self.points.at(wide(case), directions, "in float64")
            if isinstance(found, Point) and not draws_random(case.seed) and self.points.matches(found):
                return found
            if isinstance(found, Stopped) and found.error is None:
                return found
        return self.points.at(case, directions, "as given")

    def _stopped(self, found: Stopped) -> Iterator[Yielded]:
        context = self.context
        if found.error is not None and not self._runs_once():
            yield from _left_open(context, "the backward does not run outside the call as given")
            return
        refusal = refused(context, found.error)
        if refusal is not None:
            yield from _left_open(context, refusal.explanation)
        yield refusal or raised(context, found.error)

    def _runs_once(self) -> bool:
        """Whether the same call runs where nothing is to be differentiated again: then it is that which was refused."""
        case = self.context.case
        self.context.runner.begin(case.seed, forward=1, backward=1)
        try:
            differentiated(self.points.forward, case.inputs, case.grad_outputs or (), self.wanted, create_graph=False)
        except Exception:
            return False
        return True

    def _by_oracle(self, point: Point, oracle: SecondOrderOracle, directions: Directions) -> Iterator[Yielded]:
        matched = self.points.matches(point)
        rows = self.points.rows(point, oracle)
        bad = [row for row in rows if row.wrong]
        if bad or not matched:
            bad, oracle, point = self._confirmed(bad if matched else [], point, directions)
        open_ = any(row.comparison.result.verdict == "inconclusive" for row in rows)
        if (bad or self.context.order == 2) and self._contradicted(oracle):
            yield from self._by_numbers(point, directions)  # the forward detaches what only the second order needs
            return
        yield from self._kept(rows, {row.variable for row in bad})
        if not matched and not bad and open_:
            yield from _left_open(self.context, "the gradient itself is not defined at these inputs")
        for row in bad:
            yield wrong(self.context, row, self._alone(row, point, oracle), point.graph, point.words)

    def _confirmed(self, bad: list[Row], point: Point, directions: Directions) -> tuple[list[Row], SecondOrderOracle, Point]:
        """What is wrong beside these inputs too, where nothing kinks; or wrong here, where the gradient is smooth."""
        oracle = point.oracle
        assert oracle is not None
        tried = False
        for inputs in inputs_beside(point.case):
            beside = self.points.at(replace(point.case, inputs=inputs), directions, "at random inputs close by")
            if isinstance(beside, Stopped) or beside.oracle is None or not self.points.matches(beside):
                continue
            tried = True
            again = [row for row in self.points.rows(beside, beside.oracle) if row.wrong]
            both = [row for row in bad if row.variable in {other.variable for other in again}]
            if both:
                return both, oracle, point
            if again:
                return again, beside.oracle, beside
            break
        if bad and (not tried or smooth_between(oracle, point.case)):
            return bad, oracle, point
        return [], oracle, point

    def _contradicted(self, oracle: SecondOrderOracle) -> bool:
        """Whether numeric derivatives of the oracle's own gradients are not what it says."""
        if oracle.truth_roundoff:
            return False
        try:
            case, runner = wide(oracle.case), self.context.runner
            problem = problem_of_gradients(oracle.forward, case, self.wanted, oracle.directions, runner, 0)
            values = filled(oracle.graph(), oracle.truth())
            found = guard(problem, values)
        except Exception:  # the forward cannot be moved about
            return False
        return not found.agrees and not within_noise(found, values, oracle.rounded(torch.float64))

    def _by_numbers(self, point: Point, directions: Directions) -> Iterator[Yielded]:
        """Without an oracle of second order: numbers differentiate the first-order gradients, which are known to be right."""
        context = self.context
        try:
            problem = problem_of_gradients(self.points.forward, point.case, self.wanted, directions, context.runner, 1)
            values = filled(point.graph, point.values)
            found = guard(problem, values)
        except Exception as error:
            yield from _left_open(self.context, f"it could not be evaluated beside the inputs ({type(error).__name__})")
            return
        if found.agrees:
            if found.reason:
                yield from _left_open(self.context, found.reason)
            return
        noise = list(self.points.rounded(point, directions))
        if within_noise(found, values, noise):
            return
        if leaves_autograd(context.oracle.runner, context.case) == "around":
            yield from _left_open(self.context, "the forward stops gradients, which numbers do not")
            return
        if not self.context.analytic or self.points.matches(point):
            for j, value in values.items():
                alone = guard(problem, {j: value})
                if not alone.agrees and not within_noise(alone, {j: value}, noise):
                    yield wrong_by_numbers(self.context, self.wanted, j, alone, point.values[j], point.graph)
                    return
            yield wrong_by_numbers(self.context, self.wanted, None, found, None, point.graph)

    def _kept(self, rows: list[Row], wrong: set[int]) -> Iterator[Comparison]:
        """With `order=2` the second derivatives are gradients of the report as well; at a kink what differs is no mistake."""
        if self.context.order == 1:
            return
        for row in rows:
            result = row.comparison.result
            if row.wrong and row.variable not in wrong:
                result = replace(result, verdict="pass", settled_by="subgradient")
            yield replace(row.comparison, result=result)

    def _alone(self, row: Row, point: Point, oracle: SecondOrderOracle) -> dict[int, Row]:
        """The same derivative of one gradient at a time: those that are wrong, by input."""
        if len(self.wanted) == 1:
            return {self.wanted[0]: row}
        found, j = {}, row.variable
        for i in self.wanted:
            alone = oracle.alone(i)
            self.context.runner.count(backward=1)
            mine = point.graph.along(alone.directions)[j]
            one = row_of(self.context, [i], j, point.graph.variables[j], mine, alone, list)
            if one.wrong:
                found[i] = one
        return found or dict.fromkeys(self.wanted, row)


def _long_numbers(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Numbers that no narrower dtype holds, so that a result which one does hold shows where the forward works in it."""
    return jittered(value, LONG_NUMBERS.value, generator, below=0.0)
