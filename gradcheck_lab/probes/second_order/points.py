"""The hand-written backward differentiated at one point, beside the oracle: what the probe of double backward compares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.oracles.autograd.second_order import Forward, GradientGraph, SecondOrderOracle, Values, differentiated
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding
from gradcheck_lab.oracles.numeric.scalar_problem import Directions
from gradcheck_lab.probes.second_order.rows import Row, close, row_of
from gradcheck_lab.probes.support.context import Context


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a backward could not be differentiated again: what it raised, None where it is marked `once_differentiable`."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class Point:
    """The hand-written backward differentiated twice at one case, and the same for the oracle, where there is one."""

    case: Case
    graph: GradientGraph
    values: Values
    oracle: SecondOrderOracle | None = None
    words: str = "as given"


@dataclass(frozen=True, slots=True)
class Points:
    """Runs both sides twice-differentiated at any point; `forward` is the hand-written side's, `wanted` are input indices."""

    context: Context
    forward: Forward
    wanted: list[int]

    def at(self, case: Case, directions: Directions, words: str) -> Point | Stopped:
        """Differentiate the backward at a case, and the oracle's where there is one."""
        context = self.context
        context.runner.begin(case.seed, forward=1, backward=1)
        try:
            graph = differentiated(self.forward, case.inputs, case.grad_outputs or (), self.wanted)
            if graph.refused:
                return Stopped(None)
            context.runner.count(backward=int(bool(graph.tracked)))
            values = graph.along(directions)
        except Exception as error:
            return Stopped(error)
        if not self.context.analytic or not graph.tracked:
            return Point(case, graph, values, None, words)
        oracle = SecondOrderOracle(context.oracle.runner, case, self.wanted, directions, bool(context.oracle.truth_roundoff))
        try:
            oracle.truth()
        except Exception:  # autograd has the first derivative of this forward only
            return Point(case, graph, values, None, words)
        return Point(case, graph, values, oracle, words)

    def matches(self, point: Point) -> bool:
        """Whether the first-order gradients are those of the oracle; at a kink either may take another one."""
        expected = self.context.gradients if point.oracle is None else point.oracle.graph().gradients
        upstream = point.case.grad_outputs or ()
        return close([(point.graph.gradients[i], expected[i]) for i in self.wanted], upstream)

    def rows(self, point: Point, oracle: SecondOrderOracle) -> list[Row]:
        """Every variable at a point, compared."""
        truth = oracle.truth()
        variables = [j for j in point.graph.variables if j in truth]
        found: list[Values] = []

        def own_noise() -> list[Values]:
            if not found:
                found.extend(self.rounded(point, oracle.directions))
            return found

        return [
            row_of(self.context, self.wanted, j, point.graph.variables[j], point.values[j], oracle, own_noise)
            for j in variables
        ]

    def rounded(self, point: Point, directions: Directions) -> Iterator[Values]:
        """The hand-written side at a point under simulated rounding."""
        case = point.case
        u = 2 * max(unit_roundoff(case.inputs[i].dtype) for i in self.wanted)
        for salt in (1, 2):
            self.context.runner.begin(case.seed, forward=1, backward=2)
            try:
                with SimulatedRounding(u, salt, long_sums=True):
                    graph = differentiated(self.forward, case.inputs, case.grad_outputs or (), self.wanted)
                    yield graph.along(directions)
            except Exception:  # code that leaves torch is not to be rounded this way
                return


def filled(graph: GradientGraph, values: Values) -> dict[int, torch.Tensor]:
    """The values of every variable in float64, zeros for None."""
    found = {}
    for j, variable in graph.variables.items():
        value = values.get(j)
        found[j] = torch.zeros_like(widened(variable.detach())) if value is None else widened(value)
    return found
