"""A backward that torch can differentiate gives the right second derivative, or raises where it has none.

`torch.autograd.grad(..., create_graph=True)` differentiates what the hand-written backward computes. Where that
uses a tensor that forward computed and saved, `detach`, `.data`, `no_grad` or NumPy, autograd has no path back to the inputs,
and the second derivative is silently wrong or zero. Source: PyTorch, "Double Backward with Custom Functions".
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
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.model.amounts import LONG_NUMBERS
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.oracles.autograd.leaves_autograd import leaves_autograd
from gradcheck_lab.oracles.autograd.second_order import Forward, SecondOrderOracle, differentiated, problem_of_gradients, wide
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.scalar_problem import Directions
from gradcheck_lab.probes.second_order.findings import (
    no_graph_finding,
    numeric_finding,
    raised_finding,
    refusal_finding,
    wrong_derivative_finding,
)
from gradcheck_lab.probes.second_order.points import NotDifferentiable, Point, Points, with_zeros
from gradcheck_lab.probes.second_order.rows import Row, is_smooth_nearby, is_within_noise, nearby_inputs, row_of
from gradcheck_lab.probes.support.context import Context, Inconclusive, Yielded
from gradcheck_lab.probes.support.repeats import compared_inputs


def double_backward(context: Context) -> Iterator[Yielded]:
    """Compare the second derivatives, along one random direction of the gradients, with the oracle's."""
    if context.wrong_inputs or any(finding.severity == "error" for finding in context.findings):
        return  # a wrong gradient has a wrong derivative
    forward = _forward(context)
    if forward is None:
        why = f"torch's engine does not call the backward of {context.subject.name}; write it as a Function"
        yield from _inconclusive(context, why)
    elif context.order == 2 or _is_reachable(context):
        yield from _SecondOrderCheck(context, Points(context, forward, compared_inputs(context))).findings()


def _is_reachable(context: Context) -> bool:
    """Whether torch may differentiate this backward without being asked to check it, as its engine runs it."""
    subject = context.subject
    return subject.called_by_engine and (subject.user is not None or context.uses_autograd)


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


def _inconclusive(context: Context, why: str) -> Iterator[Inconclusive]:
    if context.order == 2:
        yield Inconclusive(f"the second derivative was not compared: {why}")


@dataclass(frozen=True, slots=True)
class _SecondOrderCheck:
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
        point = self._first_point(directions)
        if isinstance(point, NotDifferentiable):
            yield from self._stopped(point)
        elif not point.graph.tracked:
            if any(g is not None and bool(g.any()) for g in point.graph.gradients.values()):
                yield no_graph_finding(context, point.graph)
        elif point.oracle is None:
            yield from self._compare_numerically(point, directions)
        else:
            yield from self._compare_with_oracle(point, point.oracle, directions)

    def _first_point(self, directions: Directions) -> Point | NotDifferentiable:
        """The point of the base case: in float64 where both sides take that, so that rounding hides less, else as it is."""
        case = self.context.case
        narrow = any(is_differentiable(v) and not is_wide(v.dtype) for v in case.inputs)
        if narrow and not self.context.oracle.truth_roundoff:
            found = self.points.at(wide(case), directions, "in float64")
            if isinstance(found, Point) and not draws_random(case.seed) and self.points.matches(found):
                return found
            if isinstance(found, NotDifferentiable) and found.error is None:
                return found
        return self.points.at(case, directions, "as given")

    def _stopped(self, found: NotDifferentiable) -> Iterator[Yielded]:
        context = self.context
        if found.error is not None and not self._runs_once():
            yield from _inconclusive(context, "the backward does not run outside the call as given")
            return
        refusal = refusal_finding(context, found.error)
        if refusal is not None:
            yield from _inconclusive(context, refusal.explanation)
        yield refusal or raised_finding(context, found.error)

    def _runs_once(self) -> bool:
        """Whether the same call runs without `create_graph`, so that the second derivative is what raised."""
        case = self.context.case
        self.context.runner.begin(case.seed, forward=1, backward=1)
        try:
            differentiated(self.points.forward, case.inputs, case.grad_outputs or (), self.wanted, create_graph=False)
        except Exception:
            return False
        return True

    def _compare_with_oracle(self, point: Point, oracle: SecondOrderOracle, directions: Directions) -> Iterator[Yielded]:
        matched = self.points.matches(point)
        rows = self.points.rows(point, oracle)
        bad = [row for row in rows if row.wrong]
        if bad or not matched:
            bad, oracle, point = self._confirmed_nearby(bad if matched else [], point, directions)
        inconclusive = any(row.comparison.result.verdict == "inconclusive" for row in rows)
        if (bad or self.context.order == 2) and self._is_oracle_contradicted(oracle):
            # the forward detaches a value on which only second derivatives depend
            yield from self._compare_numerically(point, directions)
            return
        yield from self._reported_derivatives(rows, {row.variable for row in bad})
        if not matched and not bad and inconclusive:
            yield from _inconclusive(self.context, "the gradient itself is not defined at these inputs")
        for row in bad:
            yield wrong_derivative_finding(
                self.context, row, self._wrong_by_gradient(row, point, oracle), point.graph, point.where
            )

    def _confirmed_nearby(
        self, bad: list[Row], point: Point, directions: Directions
    ) -> tuple[list[Row], SecondOrderOracle, Point]:
        """The derivatives that are wrong at nearby inputs too, away from kinks, or wrong here where the gradient is smooth.

        Returned with them are the oracle and the point where they are wrong.
        """
        oracle = point.oracle
        assert oracle is not None
        compared_nearby = False
        for inputs in nearby_inputs(point.case):
            nearby = self.points.at(replace(point.case, inputs=inputs), directions, "at random inputs close by")
            if isinstance(nearby, NotDifferentiable) or nearby.oracle is None or not self.points.matches(nearby):
                continue
            compared_nearby = True
            wrong_nearby = [row for row in self.points.rows(nearby, nearby.oracle) if row.wrong]
            wrong_at_both = [row for row in bad if row.variable in {other.variable for other in wrong_nearby}]
            if wrong_at_both:
                return wrong_at_both, oracle, point
            if wrong_nearby:
                return wrong_nearby, nearby.oracle, nearby
            break
        if bad and (not compared_nearby or is_smooth_nearby(oracle, point.case)):
            return bad, oracle, point
        return [], oracle, point

    def _is_oracle_contradicted(self, oracle: SecondOrderOracle) -> bool:
        """Whether numeric derivatives of the oracle's gradients contradict its second derivatives."""
        if oracle.truth_roundoff:
            return False
        try:
            case, runner = wide(oracle.case), self.context.runner
            problem = problem_of_gradients(oracle.forward, case, self.wanted, oracle.directions, runner, 0)
            values = with_zeros(oracle.graph(), oracle.truth())
            found = guard(problem, values)
        except Exception:  # the forward cannot be evaluated at other inputs
            return False
        return not found.agrees and not is_within_noise(found, values, oracle.rounded(torch.float64))

    def _compare_numerically(self, point: Point, directions: Directions) -> Iterator[Yielded]:
        """Compare with numeric derivatives of the first-order gradients, which are known to be right."""
        context = self.context
        try:
            problem = problem_of_gradients(self.points.forward, point.case, self.wanted, directions, context.runner, 1)
            values = with_zeros(point.graph, point.values)
            found = guard(problem, values)
        except Exception as error:
            yield from _inconclusive(self.context, f"it could not be evaluated beside the inputs ({type(error).__name__})")
            return
        if found.agrees:
            if found.reason:
                yield from _inconclusive(self.context, found.reason)
            return
        noise = list(self.points.rounded(point, directions))
        if is_within_noise(found, values, noise):
            return
        departure = leaves_autograd(context.oracle.runner, context.case)
        if departure.part == "around" or departure.conventions:
            yield from _inconclusive(self.context, "the forward stops gradients, which numbers do not")
            return
        if not self.context.uses_autograd or self.points.matches(point):
            for j, value in values.items():
                of_one = guard(problem, {j: value})
                if not of_one.agrees and not is_within_noise(of_one, {j: value}, noise):
                    yield numeric_finding(self.context, self.wanted, j, of_one, point.values[j], point.graph)
                    return
            yield numeric_finding(self.context, self.wanted, None, found, None, point.graph)

    def _reported_derivatives(self, rows: list[Row], wrong: set[int]) -> Iterator[Comparison]:
        """With `order=2`, the comparisons for the report; those that differ at a kink only, and so are not in `wrong`, pass."""
        if self.context.order == 1:
            return
        for row in rows:
            result = row.comparison.result
            if row.wrong and row.variable not in wrong:
                result = replace(result, verdict="pass", settled_by="subgradient")
            yield replace(row.comparison, result=result)

    def _wrong_by_gradient(self, row: Row, point: Point, oracle: SecondOrderOracle) -> dict[int, Row]:
        """The gradients whose derivative with respect to the row's variable is wrong, compared one at a time, by input."""
        if len(self.wanted) == 1:
            return {self.wanted[0]: row}
        found, j = {}, row.variable
        for i in self.wanted:
            of_one = oracle.alone(i)
            self.context.runner.count(backward=1)
            mine = point.graph.along(of_one.directions)[j]
            one = row_of(self.context, [i], j, point.graph.variables[j], mine, of_one, list)
            if one.wrong:
                found[i] = one
        return found or dict.fromkeys(self.wanted, row)


def _long_numbers(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Make values that no narrower dtype can represent, so that a result which one can shows in which the forward computes."""
    return jittered(value, LONG_NUMBERS.value, generator, below=0.0)
