"""How much rounding a hand-written backward shows by itself: how its result changes with the last digits of what it computes.

A mistake is a smooth function of the inputs and stays the same beside them; what rounding leaves, where terms cancel, is
another number at every point (Moré and Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011). No oracle knows
the terms that a backward adds up, numbers least of all, and this tells their size. So inputs are moved in their last digits,
and so is what the forward kept: 1 - s of a sigmoid that is 1 to all digits is as far from the truth as s is from rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_tensor, is_differentiable
from gradcheck_lab.calls.moves import moved, random_signs
from gradcheck_lab.comparison.slices import numbers
from gradcheck_lab.model.amounts import LAST_DIGITS_MOVED, OWN_NOISE_SAMPLES
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.budget import CANCELLATION
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.runner import Runner


def size_of_terms(inputs: Sequence[Any]) -> float:
    """How large products of two numbers of a call are, at least 1, by the root of the number of elements that a sum may have.

    Terms that cancel in its gradient may be of this size: sums of n terms err by the root of n, as a rule.
    """
    floating = [value.detach() for value in inputs if is_differentiable(value) and value.numel()]
    sizes = numbers(*(torch.nan_to_num(value.abs(), 0.0, 0.0, 0.0).max() for value in floating)) if floating else []
    most = max((value.numel() for value in floating), default=1)
    return max([1.0, *sizes]) ** 2 * math.sqrt(most)


def most_noise(dtype: torch.dtype, term: float) -> float:
    """How much rounding in `dtype` may leave where terms of this size cancel; beyond it, no noise explains an error.

    Ill-conditioned calls leave more than their terms say, in float64 up to half of the digits that it has beside float32.
    """
    digits = math.sqrt(min(1.0, unit_roundoff(dtype) / unit_roundoff(torch.float32)))
    return CANCELLATION.value * digits * term


class OwnNoise:
    """The rounding of one backward on one case, by input; `returned` are its gradients there."""

    def __init__(self, runner: Runner, case: Case, returned: Mapping[int, Any]) -> None:
        self.runner, self.case, self.returned = runner, case, returned

    def of(self, index: int) -> torch.Tensor | None:
        """How far each element of an input's gradient changes beside the call, in its shape and float64: the largest but one.

        Rounding comes in steps, and where terms cancel many samples leave the same one; a single sample may cross a kink. None
        where the backward does not run beside the call, or gives another result when it is repeated; zero for elements that
        change by more than rounding of ordinary terms.
        """
        actual = self.returned.get(index)
        if not isinstance(actual, torch.Tensor) or not is_differentiable(actual):
            return None
        changes = []
        for sample in self._samples:
            other = sample[index] if index < len(sample) else None
            if not isinstance(other, torch.Tensor) or other.shape != actual.shape:
                return None
            changes.append((other.detach().to(torch.complex128) - actual.detach().to(torch.complex128)).abs())
        if not changes:
            return None
        seen = torch.stack(changes).sort(0).values[-2]
        return torch.where(seen <= most_noise(actual.dtype, size_of_terms(self.case.inputs)), seen, 0.0)

    def samples(self, index: int, level: str) -> list[torch.Tensor]:
        """The same as a list, by the level of references at which it counts: where equal values need not be rounded alike."""
        seen = self.of(index) if level == "independent" else None
        return [] if seen is None else [seen]

    @cached_property
    def _samples(self) -> list[tuple[Any, ...]]:
        try:
            again = self._run(None)
            if not all(_same(a, b) for a, b in zip(again, (self.returned.get(i) for i in range(len(again))), strict=True)):
                return []
            seeds = range(self.case.seed, self.case.seed + OWN_NOISE_SAMPLES.value)
            return [self._run(torch.Generator().manual_seed(seed)) for seed in seeds]
        except Exception:  # beside the call the user's code may refuse to run
            return []

    def _run(self, generator: torch.Generator | None) -> tuple[Any, ...]:
        inputs = tuple(_beside(value, generator) for value in self.case.inputs)
        upstream = tuple(_beside(g, generator) for g in self.case.grad_outputs or ())
        rounding = nullcontext() if generator is None else self._rounding(generator)
        with rounding:
            recording = self.runner.record(inputs, self.case)
        if generator is not None and recording.with_kept is not None:
            recording = recording.with_kept(partial(_beside, generator=generator))
        with rounding:
            upstream = recording.fixed_grad_outputs or upstream
            return as_tuple(self.runner.backward(recording, upstream, self.case.seed).returned)

    def _rounding(self, generator: torch.Generator) -> SimulatedRounding:
        """A mode in which each operation of the user's code in torch errs by a rounding of what it returns."""
        dtype = min((v.dtype for v in self.case.inputs if is_differentiable(v)), key=unit_roundoff)
        salt = generator.initial_seed() + 1
        return SimulatedRounding(unit_roundoff(dtype), salt, long_sums=True, independent=True, dtype=dtype, own=True)


def _same(again: Any, returned: Any) -> bool:
    if not isinstance(again, torch.Tensor) or not isinstance(returned, torch.Tensor):
        return True  # not compared, or not of an input that is
    return again.shape == returned.shape and torch.equal(again.detach().nan_to_num(), returned.detach().nan_to_num())


def _beside(value: Any, generator: torch.Generator | None) -> Any:
    """A copy, with a generator one whose elements differ in their last digits."""
    if not isinstance(value, torch.Tensor):
        return value
    if generator is None or not is_differentiable(value):
        return copy_tensor(value)
    width = LAST_DIGITS_MOVED.value * unit_roundoff(value.dtype)
    return moved(value.detach(), width, random_signs(value, generator), value.detach())
