"""The hand-written backward and the oracle, both differentiated at the same inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.oracles.autograd.second_order import Forward, GradientGraph, SecondOrderOracle, Values, differentiated
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding
from gradcheck_lab.oracles.numeric.scalar_problem import Directions
from gradcheck_lab.probes.second_order.rows import Row, are_close, row_of
from gradcheck_lab.probes.support.context import Context


@dataclass(frozen=True, slots=True)
class NotDifferentiable:
    """The backward cannot be differentiated; `error` is what it raised, None where it is marked `once_differentiable`."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class Point:
    """The hand-written backward differentiated at one case, with its second derivatives, and the oracle, where there is one.

    `where` is what messages call the case.
    """

    case: Case
    graph: GradientGraph
    values: Values
    oracle: SecondOrderOracle | None = None
    where: str = "as given"


@dataclass(frozen=True, slots=True)
class Points:
    """Differentiates the hand-written backward and the oracle at any case.

    `forward` runs the hand-written forward under autograd; `wanted` are the indices of the inputs whose gradients count.
    """

    context: Context
    forward: Forward
    wanted: list[int]

    def at(self, case: Case, directions: Directions, where: str) -> Point | NotDifferentiable:
        """Differentiate the backward at a case along these directions, and the oracle, where there is one."""
        context = self.context
        context.runner.begin(case.seed, forward=1, backward=1)
        try:
            graph = differentiated(self.forward, case.inputs, case.grad_outputs or (), self.wanted)
            if graph.refused:
                return NotDifferentiable(None)
            context.runner.count(backward=int(bool(graph.tracked)))
            values = graph.along(directions)
        except Exception as error:
            return NotDifferentiable(error)
        if not self.context.uses_autograd or not graph.tracked:
            return Point(case, graph, values, None, where)
        oracle = SecondOrderOracle(context.oracle.runner, case, self.wanted, directions, bool(context.oracle.truth_roundoff))
        try:
            oracle.truth()
        except Exception:  # autograd has no second derivative of this forward
            return Point(case, graph, values, None, where)
        return Point(case, graph, values, oracle, where)

    def matches(self, point: Point) -> bool:
        """Whether the first-order gradients are the oracle's; at a kink both may be right and differ."""
        expected = self.context.gradients if point.oracle is None else point.oracle.graph().gradients
        upstream = point.case.grad_outputs or ()
        return are_close([(point.graph.gradients[i], expected[i]) for i in self.wanted], upstream)

    def rows(self, point: Point, oracle: SecondOrderOracle) -> list[Row]:
        """Compare the derivatives with respect to each variable."""
        truth = oracle.truth()
        variables = [j for j in point.graph.variables if j in truth]
        found: list[Values] = []

        def own_rounding() -> list[Values]:
            if not found:
                found.extend(self.rounded(point, oracle.directions))
            return found

        return [
            row_of(self.context, self.wanted, j, point.graph.variables[j], point.values[j], oracle, own_rounding)
            for j in variables
        ]

    def rounded(self, point: Point, directions: Directions) -> Iterator[Values]:
        """Second derivatives of the hand-written side under simulated rounding; none where its code cannot be run that way."""
        case = point.case
        u = 2 * max(unit_roundoff(case.inputs[i].dtype) for i in self.wanted)
        for salt in (1, 2):
            self.context.runner.begin(case.seed, forward=1, backward=2)
            try:
                with SimulatedRounding(u, salt, long_sums=True):
                    graph = differentiated(self.forward, case.inputs, case.grad_outputs or (), self.wanted)
                    yield graph.along(directions)
            except Exception:  # code that leaves torch cannot be rounded this way
                return


def with_zeros(graph: GradientGraph, values: Values) -> dict[int, torch.Tensor]:
    """The values of every variable in float64, zeros for None."""
    found = {}
    for j, variable in graph.variables.items():
        value = values.get(j)
        found[j] = torch.zeros_like(widened(variable.detach())) if value is None else widened(value)
    return found
