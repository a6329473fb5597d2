"""What a wrong gradient would be with one thing changed, where numbers decide: the Jacobian, an operand, where it is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.amounts import SOLVING_STEPS
from gradcheck_lab.model.limits import CANDIDATE_TENSORS, ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.model.precision.numbers import SOLVED
from gradcheck_lab.oracles.numeric.finite_difference import sweep
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import Problem

Tensors = Mapping[str, torch.Tensor]


def variations(oracle: NumericOracle, index: int, actual: torch.Tensor, tensors: Tensors) -> Iterator[Variation]:
    """The gradients of an input that a backward would give which takes something else for what it should."""
    problem = oracle.problem
    if actual.is_complex() or actual.numel() > ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value or not problem.is_wide:
        return
    outputs = [k for k, o in enumerate(problem.base()) if is_differentiable(o)]
    alike = [k for k in outputs if problem.base()[k].shape == actual.shape and not problem.base()[k].is_complex()]
    if len(outputs) == len(alike) == 1:
        yield from _not_transposed(problem, index, alike[0])
    yield from _replaced(oracle, index, actual, tensors)
    if len(outputs) == len(alike) == 1:
        yield from _at_the_input(oracle, index, alike[0])


def _not_transposed(problem: Problem, index: int, output: int) -> Iterator[Variation]:
    """The Jacobian times grad_output, in the place of its transpose: one sweep gives all its elements."""
    upstream = problem.grad_outputs[output].double()
    found = _derivatives(problem, index, output, upstream)
    if found is not None:
        sentence = "it is the Jacobian times grad_output, and should be its transpose times grad_output"
        fix = "transpose the matrix that grad_output is multiplied by or solved with"
        yield Variation("transposed", sentence, fix, ("the Jacobian",), found)


def _derivatives(problem: Problem, index: int, output: int, along: torch.Tensor) -> torch.Tensor | None:
    """The derivative of each element of an output as an input moves along a direction of its shape."""
    grads = tuple(torch.ones_like(g) if k == output else torch.zeros_like(g) for k, g in enumerate(problem.grad_outputs))
    value = sweep(replace(problem, grad_outputs=grads, memory={}), {index: along}).central.value
    shape = problem.inputs[index].shape
    return value[-shape.numel() :].reshape(shape) if len(grads) == 1 and value.numel() == shape.numel() else None


def _replaced(oracle: NumericOracle, index: int, actual: torch.Tensor, tensors: Tensors) -> Iterator[Variation]:
    """The gradient where another tensor of the call stands for an input, or its transpose does."""
    problem = oracle.problem
    for k in problem.differentiable[: CANDIDATE_TENSORS.value]:
        here = problem.inputs[k].detach()
        square = here.ndim == 2 and here.shape[0] == here.shape[1] > 1
        own = next(name for name, value in tensors.items() if value is problem.inputs[k] or torch.equal(value, here))
        others = [(f"the transpose of {own}", here.mT.contiguous())] if square else []
        others += [(name, v.detach()) for name, v in tensors.items() if v.shape == here.shape and v.dtype == here.dtype]
        for name, value in others[: CANDIDATE_TENSORS.value]:
            if torch.equal(value, here):
                continue
            inputs = tuple(value if i == k else v for i, v in enumerate(problem.inputs))
            there = _elsewhere(oracle, inputs)
            if _agrees(there, index, actual):
                sentence = f"it is the gradient of a call with {name} in the place of {own}"
                gradient = there.gradient(index).value
                yield Variation("wrong-operand", sentence, f"put {own} where {name} stands", (own, name), gradient)


def _elsewhere(oracle: NumericOracle, inputs: tuple[torch.Tensor, ...]) -> NumericOracle:
    return oracle.of(replace(oracle.problem, inputs=inputs, memory={}))


def _agrees(oracle: NumericOracle, index: int, actual: torch.Tensor) -> bool:
    """Whether a gradient is that of the forward there along one direction."""
    try:
        found = guard(oracle.problem, {index: actual})
    except Exception:  # the forward refuses these values
        return False
    return found.agrees and not found.reason


def _at_the_input(oracle: NumericOracle, index: int, output: int) -> Iterator[Variation]:
    """The gradient where the output is what the input is here: of a formula in the output that is given the input.

    Of an elementwise forward each element is solved for by Newton's method; those that are solved are compared.
    """
    problem = oracle.problem
    wanted = problem.inputs[index].detach()
    at, off = wanted.clone(), partial(_off, problem, index, output, wanted)
    span = wanted.max() - wanted.min()  # far from the values of the call a forward may take as long as it likes
    low, high = wanted.min() - 2 * span, wanted.max() + 2 * span
    for _ in range(SOLVING_STEPS.value):
        away = off(at)
        moved = _elsewhere(oracle, tuple(at if i == index else v for i, v in enumerate(problem.inputs))).problem
        slope = None if away is None else _derivatives(moved, index, output, torch.ones_like(at))
        if away is None or slope is None:
            return
        step = torch.where(slope != 0, away / slope, 0.0)
        at = torch.where(torch.isfinite(step), at - step, wanted).clamp(low, high)
    away = off(at)
    if away is None:
        return
    solved = away.abs() <= SOLVED.value * wanted.abs().clamp(min=1)
    if bool(solved.any()):
        there = _elsewhere(oracle, tuple(at if i == index else v for i, v in enumerate(problem.inputs)))
        gradient = there.gradient(index).value
        places = torch.nonzero(solved.reshape(-1)).reshape(-1)
        if gradient is not None and places.numel() > 2:
            sentence = "it is the derivative where the output would be what the input is here: of a formula in the output"
            fix = "put the output where the input stands"
            yield Variation("wrong-operand", sentence, fix, ("output",), gradient.reshape(-1)[places], places)


def _off(problem: Problem, index: int, output: int, wanted: torch.Tensor, at: torch.Tensor) -> torch.Tensor | None:
    """By how much the outputs at other values of an input miss what is wanted; None where there are none."""
    try:
        found = problem.run(tuple(at.clone() if i == index else v for i, v in enumerate(problem.inputs)))[output]
    except Exception:  # the forward refuses these values
        return None
    return found.detach().double() - wanted if found.shape == wanted.shape else None
