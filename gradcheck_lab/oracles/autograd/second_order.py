"""Second order: the gradients of one forward kept in a graph, and what their product with a direction depends on.

With G_i the gradient of input i for the upstream g, one more backward differentiates the scalar S = Σ_i Re⟨v_i, G_i(x, g)⟩
(Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994): every element of dS/dx and dS/dg
for the price of a gradient, whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_tensor, is_differentiable
from gradcheck_lab.model.precision import is_narrow, is_wide, unit_roundoff, widened
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding, perturb
from gradcheck_lab.oracles.numeric.scalar_problem import Directions, Problem
from gradcheck_lab.subjects.runner import Runner

Forward = Callable[[tuple[Any, ...]], Sequence[Any]]
Values = Mapping[int, torch.Tensor | None]

_REFUSAL = "torch::autograd::Error"


@dataclass(frozen=True, slots=True)
class GradientGraph:
    """The first-order gradients of one call, by input, in a graph that leads back to `variables`.

    A variable is an input, by its index, or the upstream of output k, by the number of inputs plus k.
    """

    variables: Mapping[int, torch.Tensor]
    gradients: Values

    @property
    def tracked(self) -> tuple[int, ...]:
        """The inputs whose gradient torch can differentiate again."""
        return tuple(i for i, value in self.gradients.items() if value is not None and value.requires_grad)

    @property
    def refused(self) -> bool:
        """Whether some backward in the graph is marked `once_differentiable`; autograd may give None then, and no error."""
        return any(node.name() == _REFUSAL for node in self._nodes())

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the hand-written Functions that the gradients passed through."""
        nodes = (node for node in self._nodes() if isinstance(node, torch.autograd.function.BackwardCFunction))
        return tuple(dict.fromkeys(type(node).__name__.removesuffix("Backward") for node in nodes))

    def along(self, directions: Directions) -> Values:
        """The derivative of Σ Re⟨direction_i, gradient_i⟩ by variable, None where nothing flows; raises what it raises."""
        chosen = [i for i in self.tracked if i in directions]
        if not chosen:
            return dict.fromkeys(self.variables)
        values: list[Any] = [self.gradients[i] for i in chosen]
        weights = [directions[i].to(value) for i, value in zip(chosen, values, strict=True)]
        leaves = list(self.variables.values())
        found = torch.autograd.grad(values, leaves, weights, retain_graph=True, allow_unused=True)
        return {j: None if g is None else g.detach() for j, g in zip(self.variables, found, strict=True)}

    def _nodes(self) -> list[Any]:
        pending = [value.grad_fn for value in self.gradients.values() if value is not None]
        seen: dict[Any, None] = {}
        while pending:
            node = pending.pop()
            if node is not None and node not in seen:
                seen[node] = None
                pending += [before for before, _ in node.next_functions]
        return list(seen)


def differentiated(
    forward: Forward, inputs: Sequence[Any], grad_outputs: Sequence[Any], wanted: Sequence[int], *, create_graph: bool = True
) -> GradientGraph:
    """Run `forward` on leaves in the place of the `wanted` inputs, and its backward; raises what they raise."""
    variables = {i: copy_tensor(inputs[i]).requires_grad_() for i in wanted}
    given = tuple(variables.get(i, value) for i, value in enumerate(inputs))
    with torch.enable_grad():
        outputs = forward(given)
        roots, upstream = [], []
        for k, (output, grad) in enumerate(zip(outputs, grad_outputs, strict=True)):
            if isinstance(output, torch.Tensor) and output.requires_grad:
                leaf = copy_tensor(grad).to(output).detach().requires_grad_()
                variables[len(inputs) + k] = leaf
                roots.append(output)
                upstream.append(leaf.clone())  # whoever calls a backward hands it no leaf
        found: Sequence[Any] = [None] * len(wanted)
        if roots:
            leaves = [variables[i] for i in wanted]
            found = torch.autograd.grad(roots, leaves, upstream, create_graph=create_graph, allow_unused=True)
    return GradientGraph(variables, dict(zip(wanted, found, strict=True)))


def problem_of_gradients(
    forward: Forward, case: Case, wanted: Sequence[int], directions: Directions, runner: Runner, backwards: int
) -> Problem:
    """The map from inputs and upstream gradients to first-order gradients, for numeric oracles to differentiate.

    Its inputs are numbered as the variables of a `GradientGraph`. `backwards` is how many of the user's backwards a call
    of it runs.
    """
    count = len(case.inputs)

    def gradients(values: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        runner.count(backward=backwards)
        graph = differentiated(forward, values[:count], values[count:], wanted, create_graph=False)
        found = [graph.gradients[i] for i in wanted]
        return tuple(torch.zeros_like(values[i]) if g is None else g for i, g in zip(wanted, found, strict=True))

    inputs = (*case.inputs, *(case.grad_outputs or ()))
    upstream = tuple(directions[i].to(case.inputs[i]) for i in wanted)
    return Problem(gradients, inputs, case.options, upstream, case.seed, runner)


@dataclass
class SecondOrderOracle:
    """The subject's own forward differentiated twice by autograd, along the `directions` of its gradients."""

    runner: Runner
    case: Case
    wanted: Sequence[int]
    directions: Directions
    truth_roundoff: bool = False
    _graph: GradientGraph | None = field(default=None, init=False)
    _truth: Values | None = field(default=None, init=False)
    _passes: dict[str, Values | None] = field(default_factory=dict, init=False)

    def forward(self, inputs: tuple[Any, ...]) -> Sequence[Any]:
        """Run the forward where autograd can follow it; whoever calls it counts it."""
        trace = self.runner.subject.trace
        assert trace is not None
        self.runner.begin(self.case.seed)
        return trace(inputs, self.case.options, frozenset()).outputs

    def graph(self) -> GradientGraph:
        """The first-order gradients in float64, where the forward takes that; raises what it raises."""
        if self._graph is None:
            self._graph = self._run(self.case if self.truth_roundoff else wide(self.case))
        return self._graph

    def truth(self) -> Values:
        """The derivatives by variable, in float64, None for zero."""
        if self._truth is None:
            found = self.graph().along(self.directions)
            self._truth = {j: None if value is None else widened(value) for j, value in found.items()}
        return self._truth

    def alone(self, index: int) -> SecondOrderOracle:
        """The same for the gradient of one input, in the graph that is already there."""
        found = replace(self, directions={index: self.directions[index]})
        found._graph = self.graph()
        return found

    def rounded(self, dtype: torch.dtype, times: int = 1) -> list[Values]:
        """What simulated rounding in `dtype`, or so many times coarser, makes of the derivatives."""
        found = [self._try(f"simulated {dtype} {times} {salt}", dtype, salt, times) for salt in (1, 2)]
        return [values for values in found if values is not None]

    def references(self, variable: int, dtype: torch.dtype) -> Callable[[str, int], list[torch.Tensor]]:
        """What a sound double backward in `dtype` could have given for a variable, by level and coarseness."""

        def found(level: str, times: int) -> list[torch.Tensor]:
            narrow = any(is_differentiable(v) and not is_wide(v.dtype) for v in self.case.inputs)
            native = [self._try("native", None, 0)] if narrow and level == "native" else []
            passes = self.rounded(dtype, times) if level == "simulated" else [values for values in native if values is not None]
            like = self.truth().get(variable)
            if like is None:
                return []
            return [torch.zeros_like(like) if (value := values[variable]) is None else widened(value) for values in passes]

        return found

    def _run(self, case: Case) -> GradientGraph:
        self.runner.begin(case.seed, forward=1)
        return differentiated(self.forward, case.inputs, case.grad_outputs or (), self.wanted)

    def _try(self, name: str, simulate: torch.dtype | None, salt: int, times: int = 1) -> Values | None:
        if name not in self._passes:
            try:
                self._passes[name] = self._pass(simulate, salt, times)
            except Exception:  # what autograd cannot do in this dtype is no reference
                self._passes[name] = None
        return self._passes[name]

    def _pass(self, simulate: torch.dtype | None, salt: int, times: int) -> Values:
        if simulate is None:
            return self._run(self.case).along(self.directions)
        u = 4 * times * unit_roundoff(simulate)
        case = self.case if self.truth_roundoff else wide(self.case)
        inputs = tuple(perturb(v, u, salt) if is_differentiable(v) else v for v in case.inputs)
        upstream = tuple(perturb(v, u, salt) if is_differentiable(v) else v for v in case.grad_outputs or ())
        moved = Case(inputs, case.options, upstream, case.seed)
        with SimulatedRounding(u, salt, long_sums=not is_narrow(simulate)):
            return self._run(moved).along(self.directions)


def wide(case: Case) -> Case:
    """The case with every floating tensor in float64 or complex128."""
    inputs = tuple(widened(v) if is_differentiable(v) else v for v in case.inputs)
    upstream = tuple(widened(v) if is_differentiable(v) else v for v in case.grad_outputs or ())
    return Case(inputs, case.options, upstream, case.seed, case.label)
