"""What every numeric oracle evaluates: a plain forward, the scalar that its upstream gradients make of it, and a direction.

The scalar is L(x) = Σ_k Re⟨grad_output_k, output_k(x)⟩. It is never summed up whole: each oracle differentiates up to 1024
groups of neighbouring output elements at once, so that one kink, one infinity or one large term does not spoil the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.limits import DIFFERENCE_GROUPS
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.numbers import LIFTED_ROUNDINGS
from gradcheck_lab.oracles.casts import Lifting, Watch, same_up_to
from gradcheck_lab.subjects.runner import Runner

Directions = Mapping[int, torch.Tensor]
Flag = Literal["", "kink", "jump", "non-finite"]


@dataclass(frozen=True, slots=True)
class Derivative:
    """A directional derivative and a bound on its absolute error.

    Where the forward has a `flag` along the direction the error is infinite; at a kink `low` and `high` are what the
    one-sided derivatives allow, elsewhere value - error and value + error. `sides` are then the derivatives from the left and
    from the right, NaN on a side where there is none.
    """

    value: float
    error: float
    method: str
    flag: Flag = ""
    low: float = -math.inf
    high: float = math.inf
    sides: tuple[float, float] = (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Problem:
    """A forward at one point, with the upstream gradients that make its outputs a scalar.

    `forward(inputs, options)` returns a tuple of outputs; `inputs` are in the precision that it is evaluated in, float64 where
    it takes that. Every call of it is counted by `runner` and sees the random numbers of `seed`. `memory`
    keeps what the oracles found out about the point, so that the next direction does not pay for it again. Random directions
    leave the elements that are `still` where they are, and inputs that are `held`: constants in a narrower dtype. Where it
    `lifts` casts, those to 16 bits within the forward are left out: a forward that casts computes a function, whose derivative
    is asked for, with an error of its own. `longer_steps` are tried after the others, at the cost of as many evaluations.
    """

    forward: Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, ...]]
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    grad_outputs: tuple[torch.Tensor, ...]
    seed: int
    runner: Runner
    memory: dict[str, Any] = field(default_factory=dict)
    still: Mapping[int, torch.Tensor] = field(default_factory=dict)
    lifts: bool = False
    held: frozenset[int] = frozenset()
    longer_steps: bool = False

    @property
    def differentiable(self) -> tuple[int, ...]:
        """The indices of the inputs that have a gradient."""
        return tuple(i for i, value in enumerate(self.inputs) if is_differentiable(value) and i not in self.held)

    @property
    def roundoff(self) -> float:
        """The unit roundoff of the narrowest differentiable input, or of a 16-bit dtype that was seen inside the forward."""
        own = max((unit_roundoff(self.inputs[i].dtype) for i in self.differentiable), default=2.0**-53)
        return max(own, float(self.memory.get("inside", 0.0)))

    @property
    def is_wide(self) -> bool:
        """Whether the forward is evaluated in float64."""
        return all(unit_roundoff(self.inputs[i].dtype) == 2.0**-53 for i in self.differentiable)

    def run(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call the forward on these inputs, which it may write to; warnings about values outside its domain are dropped."""
        self.runner.begin(self.seed, forward=1)
        with torch.no_grad(), warnings.catch_warnings(), Lifting() if self.own_roundoff else nullcontext():
            warnings.simplefilter("ignore")
            return self.forward(inputs, self.options)

    def base(self) -> tuple[Any, ...]:
        """The outputs at the point itself; raises what the forward raises."""
        if "base" not in self.memory:
            watch = Watch(all(self.inputs[i].numel() == 1 for i in self.differentiable))
            with watch:
                outputs = self.run(copy_inputs(self.inputs))
            self.memory["base"] = tuple(o.detach().clone() if isinstance(o, torch.Tensor) else o for o in outputs)
            self.memory.update({"inside": watch.roundoff, "draws": watch.draws})
            if self.lifts and watch.roundoff:
                self._lift()
        base: tuple[Any, ...] = self.memory["base"]
        return base

    @property
    def draws(self) -> bool:
        """Whether the forward draws random numbers of torch."""
        self.base()
        return bool(self.memory["draws"])

    @property
    def own_roundoff(self) -> float:
        """The unit roundoff of the casts that are lifted; 0 where there are none."""
        return float(self.memory.get("lifted", 0.0))

    def _lift(self) -> None:
        """Leave out casts from now on, if the forward is the same function without them, up to their rounding."""
        before, u = self.memory["base"], self.memory["inside"]
        self.memory["lifted"] = u
        try:
            after = tuple(o.detach().clone() if isinstance(o, torch.Tensor) else o for o in self.run(copy_inputs(self.inputs)))
            same = all(same_up_to(a, b, LIFTED_ROUNDINGS.value * u) for a, b in zip(after, before, strict=True))
        except Exception:  # it mixes dtypes that only the casts make equal
            same = False
        self.memory.update({"base": after, "inside": 0.0} if same else {"lifted": 0.0})

    def moved(self, step: float, directions: Directions) -> tuple[Any, ...]:
        """Copies of the inputs, those with a direction a step along it."""
        values = list(copy_inputs([v if i not in directions else None for i, v in enumerate(self.inputs)]))
        for index, direction in directions.items():
            here = self.inputs[index].detach()
            values[index] = (widened(here) + step * widened(direction.to(here.device))).to(here.dtype)
        return tuple(values)

    def change(self, step: float, directions: Directions) -> torch.Tensor:
        """How much each group changes by a step along the directions; NaN where the forward refuses the inputs there."""
        base = self.base()
        try:
            outputs = self.run(self.moved(step, directions))
            return self.contract([_difference(a, b) for a, b in zip(outputs, base, strict=True)])
        except Exception:  # outside its domain a forward may raise as well as return NaN
            return torch.full_like(self.magnitude(), math.nan)

    def contract(self, values: Sequence[Any]) -> torch.Tensor:
        """Weigh one tensor per output by its grad_output and add up within each group; None counts as zero."""
        parts = []
        for value, grad_output in zip(values, self.grad_outputs, strict=True):
            if not is_differentiable(grad_output):
                continue
            weight = widened(grad_output)
            if value is None:
                product = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
            elif weight.is_complex() or value.is_complex():
                product = (weight.conj() * widened(value)).real
            else:
                product = weight * value.double()
            if product.shape != weight.shape:
                raise ValueError("the outputs changed their shape")
            parts.append(_grouped(product.reshape(-1)))
        return _grouped(torch.cat(parts)) if parts else torch.zeros(1, dtype=torch.float64)

    def magnitude(self) -> torch.Tensor:
        """The sum of |grad_output| |output| in each group: the size at which its rounding happens."""
        if "magnitude" not in self.memory:
            self.memory["magnitude"] = self.contract_sizes(self.base())
        found: torch.Tensor = self.memory["magnitude"]
        return found

    def contract_sizes(self, outputs: Sequence[Any]) -> torch.Tensor:
        """The sum of |grad_output| |output| in each group, for outputs anywhere."""
        weights = tuple(g.abs() if is_differentiable(g) else g for g in self.grad_outputs)
        known = [is_differentiable(o) and is_differentiable(w) for o, w in zip(outputs, weights, strict=True)]
        sizes = [torch.nan_to_num(widened(o).abs(), 0.0, 0.0, 0.0) if k else None for o, k in zip(outputs, known, strict=True)]
        return replace(self, grad_outputs=weights).contract(sizes)

    def random_directions(self, salt: int, indices: Sequence[int] | None = None, relative: bool = False) -> Directions:
        """A dense random direction for each input, of the input's own scale, or of every element's when `relative`."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + salt) % 2**63)
        found = {}
        for index in self.differentiable if indices is None else indices:
            value = widened(self.inputs[index].detach())
            drawn = random_like(value, generator)
            if index in self.still:
                drawn = drawn.masked_fill(self.still[index], 0.0)
            found[index] = drawn * value.abs() if relative else drawn * power_of_two(rms(value) or 1.0)
        return found


def inner(gradient: torch.Tensor, direction: torch.Tensor) -> float:
    """Re⟨gradient, direction⟩: what a gradient says that the directional derivative is."""
    return float((widened(gradient).conj() * widened(direction.to(gradient.device))).real.sum())


def scales(problem: Problem, directions: Directions) -> tuple[float, float, float]:
    """Three lengths along the directions: typical of the elements that move, the least of them, and of whole inputs."""
    typical, least, whole = [], [], []
    for index, direction in directions.items():
        size, speed = widened(problem.inputs[index].detach()).abs(), widened(direction).abs().to(problem.inputs[index].device)
        moving = (speed > 0) & (size > 0) & torch.isfinite(size)
        if bool((speed > 0).any()):
            whole.append(rms(size) / rms(speed[speed > 0]))
        if bool(moving.any()):
            typical.append(rms(size[moving]) / rms(speed[moving]))
            least.append(float((size[moving] / speed[moving]).min()))
    largest = max([w for w in whole if w > 0], default=1.0)
    return min(typical, default=largest), min(least, default=largest), largest


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings of forwards that are tried on inputs which they may not be meant for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _difference(there: Any, here: Any) -> torch.Tensor | None:
    if not is_differentiable(here):
        return None
    if there.shape != here.shape:
        raise ValueError("the outputs changed their shape")
    found = widened(there) - widened(here)
    if bool(torch.isfinite(found).all()):
        return found
    # what is infinite and stays so, as a fully masked score, does not move
    same = (there == here) | (torch.isnan(there) & torch.isnan(here))
    return torch.where(same, torch.zeros_like(found), found)


def _grouped(flat: torch.Tensor) -> torch.Tensor:
    groups = DIFFERENCE_GROUPS.value
    if flat.numel() > groups:
        each = flat.numel() // groups
        head = flat[: each * groups].reshape(groups, each).sum(1)
        head[-1] += flat[each * groups :].sum()
        flat = head
    return flat.cpu()


def rms(value: torch.Tensor) -> float:
    if not value.numel():
        return 0.0
    found = float(torch.linalg.vector_norm(torch.nan_to_num(value.abs(), 0.0, 0.0, 0.0))) / value.numel() ** 0.5
    return found if math.isfinite(found) else 0.0


def power_of_two(value: float) -> float:
    return 2.0 ** round(math.log2(value)) if 0 < value < math.inf else 1.0
