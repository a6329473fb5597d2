"""Central differences with Richardson extrapolation (Ridders 1982), swept over steps, with an error bound.

A sweep starts where the step is an eighth of the inputs' own size and halves it; what has not settled goes on with smaller
steps (a domain that ends close by, a kink close by), or larger ones. Each group of output elements keeps the step that suits
it. The rounding noise of the forward is measured by high differences at points close by (Hamming; Moré and Wild, "Estimating
computational noise", SIAM J. Sci. Comput. 33, 2011), so a forward that computes in float32 inside gets the error it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.amounts import STEP_MANTISSA, SWEEP_GOAL, SWEEP_GOAL_OF_A_STAGE
from gradcheck_lab.model.limits import SWEEP_LEVELS
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.kinks import SLOPES_DIFFER
from gradcheck_lab.model.precision.numbers import JUMP_ABOVE_NOISE, JUMP_STAYS, NOISE_QUARTILE
from gradcheck_lab.oracles.numeric.extrapolation import Limit, extrapolate
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Flag, Problem, scales

METHOD = "central differences"


@dataclass(slots=True)
class Sweep:
    """What is known of each group: its central and one-sided derivatives, and where the forward jumps or kinks."""

    central: Limit
    left: Limit
    right: Limit
    kink: torch.Tensor
    jump: torch.Tensor
    finite: torch.Tensor
    last_slope: torch.Tensor
    last_bend: torch.Tensor
    last_step: float

    def flag(self) -> Flag:
        """The worst that happens in any group."""
        lost = ~torch.isfinite(self.central.error)
        if bool((self.jump & lost).any()):
            return "jump"
        if bool((lost & ~self.finite).any()):
            return "non-finite"
        return "kink" if bool((self.kink | lost).any()) else ""

    def sides(self) -> tuple[float, float]:
        """The derivatives from the left and from the right; NaN on a side where there is none."""
        known = [bool(torch.isfinite(side.error).all()) for side in (self.left, self.right)]
        left, right = (
            float(side.value.sum()) if k else math.nan for side, k in zip((self.left, self.right), known, strict=True)
        )
        return left, right


def directional(problem: Problem, directions: Directions) -> Derivative:
    """The derivative of the problem's scalar along `directions`, a tensor of the input's shape by input index.

    The error bounds truncation and rounding. It is infinite, with a flag, at a kink or jump on the way, and where
    the forward is finite on one side only. The number of evaluations does not depend on the sizes.
    """
    found = sweep(problem, directions)
    value, flag = float(found.central.value.sum()), found.flag()
    if not flag:
        error = float(found.central.error.sum())
        return Derivative(value, error, METHOD, "", value - error, value + error)
    low, high = torch.minimum(found.left.value, found.right.value), torch.maximum(found.left.value, found.right.value)
    slack = found.left.error + found.right.error
    smooth = ~found.kink & torch.isfinite(found.central.error)
    low = torch.where(smooth, found.central.value - found.central.error, low - slack)
    high = torch.where(smooth, found.central.value + found.central.error, high + slack)
    return Derivative(value, math.inf, METHOD, flag, float(low.sum()), float(high.sum()), found.sides())


def one_sided(problem: Problem, directions: Directions) -> tuple[float, float]:
    """The derivatives from the left and from the right along `directions`; NaN on a side where there is none."""
    return sweep(problem, directions).sides()


def sweep(problem: Problem, directions: Directions) -> Sweep:
    """Sweep the steps until every group has settled or cannot get better."""
    noise = measured_noise(problem)
    typical, least, whole = scales(problem, directions)
    nothing = noise < 0
    found = Sweep(
        Limit.unknown(noise), Limit.unknown(noise), Limit.unknown(noise), nothing, nothing, nothing, noise, noise, 0.0
    )
    limit = 64 * float(noise.sum()) / max(typical, 1.0)
    kinks, confirmed = noise < 0, noise < 0
    longer = [_step(whole)] if problem.longer_steps and whole > 0 else []
    for start in (*_starts(typical, least, whole), *longer):
        if not _can_improve(found, noise, start, limit, confirmed):
            continue
        _stage(problem, directions, start, noise, found)
        _confirm(problem, directions, noise, found)
        kinks, confirmed = found.kink, kinks & found.kink
    return found


def measured_noise(problem: Problem) -> torch.Tensor:
    """The rounding noise of each group: what differences of order 4 to 6 leave of the forward at seven points close by.

    The points lie on one side, so that a kink or jump at the inputs themselves is not taken for noise.
    """
    if "noise" not in problem.memory:
        problem.base()
        own = max(problem.roundoff, 2.0**-53)
        spacing = 2.0**-19 if own < 2.0**-40 else 2.0**-9 if own < 2.0**-20 else 2.0**-4
        around = problem.random_directions(-1, relative=True)
        points = torch.stack([problem.change(j * spacing, around) for j in range(8, 15)])
        worst = torch.zeros_like(points[0])
        for order in (4, 5, 6):
            differences = torch.diff(points, n=order, dim=0).abs().amax(0) / math.sqrt(math.comb(2 * order, order))
            worst = torch.maximum(worst, torch.nan_to_num(differences, 0.0, 0.0, 0.0))
        usual = torch.maximum(_usual(worst, problem) * problem.magnitude(), _of_outputs(problem))
        problem.memory["noise"] = torch.maximum(3 * worst, usual)
    noise: torch.Tensor = problem.memory["noise"]
    return noise


def _of_outputs(problem: Problem) -> torch.Tensor:
    """What the outputs are rounded by, each in its own dtype, in each group: whatever seven points show of it."""
    outputs = problem.base()
    return problem.contract_sizes([o if not is_differentiable(o) else widened(o) * unit_roundoff(o.dtype) for o in outputs])


def _usual(worst: torch.Tensor, problem: Problem) -> float:
    """The upper quartile of the relative noise of the groups: seven points may show one group less than it has."""
    size = problem.magnitude()
    relative = (worst / size)[size > 0]
    return max(problem.roundoff, 3 * float(relative.quantile(NOISE_QUARTILE.value)) if relative.numel() else 0.0)


def _starts(typical: float, least: float, whole: float) -> list[float]:
    starts = [typical / 8]
    if whole > 64 * typical:
        starts.append(whole / 8)
    if max(typical, whole) < 1 / 64:
        starts.append(1 / 8)
    if least < typical / 8:
        starts.append(least / 8)
    starts += [typical * 2.0**-12, typical * 2.0**-21, typical * 2.0**-30]
    return [_step(start) for start in starts]


def _step(least: float) -> float:
    """The next step that is not shorter."""
    return float(STEP_MANTISSA.value * 2.0 ** math.ceil(math.log2(least)))


def _can_improve(found: Sweep, noise: torch.Tensor, start: float, limit: float, confirmed: torch.Tensor) -> bool:
    open_ = (found.central.error > 16 * noise / start) & ~confirmed
    if bool((found.kink & ~confirmed).any()):
        return True
    goal = SWEEP_GOAL.value * float(torch.linalg.vector_norm(found.central.value)) + limit
    return float(found.central.error[open_].sum()) > goal


def _stage(problem: Problem, directions: Directions, start: float, noise: torch.Tensor, found: Sweep) -> None:
    """Halve the step a few times and keep what each group learns from it."""
    plus, minus, steps = [], [], []
    goal = noise * 16 / start
    for k in range(SWEEP_LEVELS.value):
        step = start * 2.0**-k
        steps.append(step)
        plus.append(problem.change(step, directions))
        minus.append(problem.change(-step, directions))
        if k < 3:
            continue
        up, down, h = torch.stack(plus), torch.stack(minus), torch.tensor(steps, dtype=torch.float64)[:, None]
        level = (noise + problem.roundoff * torch.maximum(up.abs(), down.abs()).nan_to_num(0.0, 0.0, 0.0)) / h
        central = extrapolate((up - down) / (2 * h), level, 4)
        done = central[1] <= torch.maximum(goal, SWEEP_GOAL_OF_A_STAGE.value * central[0].abs())
        if bool(done.all()) or k == SWEEP_LEVELS.value - 1:
            break
    found.central.merge(*central, start)
    found.right.merge(*extrapolate(up / h, 2 * level, 2), start)
    found.left.merge(*extrapolate(-down / h, 2 * level, 2), start)
    found.last_step = steps[-1]
    found.last_slope, found.last_bend = (up[-1] - down[-1]) / (2 * steps[-1]), (up[-1] + down[-1]) / steps[-1]
    found.finite = found.finite | (torch.isfinite(up) & torch.isfinite(down)).any(0)
    jumps = noise < 0
    for side in (up, down):
        stays = side[-1].abs() > JUMP_STAYS.value * side[-4].abs()
        jumps = jumps | (stays & (side[-1].abs() > JUMP_ABOVE_NOISE.value * noise))
    found.jump = jumps


def _confirm(problem: Problem, directions: Directions, noise: torch.Tensor, found: Sweep) -> None:
    """Hold the limits against differences at a much smaller step: widen errors that they contradict, and look for kinks."""
    step = found.last_step * 2.0**-8
    up, down = problem.change(step, directions), problem.change(-step, directions)
    slope, central = (up - down) / (2 * step), found.central
    truncation = 2.0**-14 * (found.last_slope - central.value).abs().nan_to_num(0.0, 0.0, 0.0)
    off = (slope - central.value).abs()
    wrong = (off > central.error + truncation + 16 * noise / step) & (central.start > step)
    central.error = torch.where(wrong, 2 * off + 16 * noise / step, central.error)
    left, right, bend = found.left, found.right, (up + down) / step
    gap = right.value - left.value
    least = SLOPES_DIFFER.value
    differ = gap.abs() > 3 * (right.error + left.error) + least * torch.maximum(right.value.abs(), left.value.abs())
    # of a smooth function the difference of the slopes on both sides shrinks with the step
    stays = (bend.abs() > 0.5 * found.last_bend.abs()) & (bend.abs() > 32 * noise / step + least * slope.abs())
    found.kink = stays | (differ & ((bend - gap).abs() <= 0.5 * gap.abs() + 16 * noise / step))
