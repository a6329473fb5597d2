"""The true gradients of an examined call and of calls beside it, from whatever oracle decides there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.examination.examined import Examined, NumericTruth
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.subject import Key


def true_gradient(examined: Examined, index: int) -> torch.Tensor | None:
    """The oracle's float64 gradient of an input; None where it has none.

    A numeric oracle gives NaN for an element without a derivative, and nothing where it would take too long.
    """
    if isinstance(examined.truth, NumericTruth):
        return _numeric(examined.truth.oracle, index) if examined.is_compared(index) else None
    try:
        found = examined.oracle.truth().gradients.get(Key("input", index))
    except Exception:  # autograd cannot run the forward
        return None
    return None if found is None else found.detach()


def true_gradients(examined: Examined) -> dict[int, torch.Tensor]:
    """The oracle's gradients of all inputs that have one, by index."""
    found = {i: true_gradient(examined, i) for i in range(len(examined.case.inputs))}
    return {i: gradient for i, gradient in found.items() if gradient is not None}


def gradients_at(examined: Examined, inputs: tuple[Any, ...]) -> dict[int, torch.Tensor]:
    """The same for other values of the inputs. Raises what the forward or the oracle raises there."""
    if isinstance(examined.truth, NumericTruth):
        runner = examined.truth.oracle.problem.runner
        oracle = NumericOracle(runner, replace(examined.case, inputs=inputs))
        found = {i: _numeric(oracle, i) for i in range(len(inputs)) if examined.is_compared(i)}
        return {i: gradient for i, gradient in found.items() if gradient is not None}
    case = replace(examined.oracle.case, inputs=inputs)
    gradients = examined.oracle.run(torch.float64, case=case).gradients
    return {key.first: g for key, g in gradients.items() if key.role == "input" and g is not None}


def _numeric(oracle: NumericOracle, index: int) -> torch.Tensor | None:
    if oracle.problem.inputs[index].numel() > ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value:
        return None
    return oracle.gradient(index).value
