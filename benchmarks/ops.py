"""What hand-written rules cost: forward and backward by hand, as a ratio to the same forward under autograd, op by op.

Both sides run in turns in one process on one thread, on calls whose largest tensor has about a million elements, and the
medians are compared. The slowest ratio comes first; above 1.5 the reason is printed, or that there is none.
Run it alone on an idle machine: `OMP_NUM_THREADS=1 python benchmarks/ops.py`; `--quick` tries it on small calls.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.specs import Spec

ELEMENTS, QUICK = 1_000_000, 10_000
LIMIT = 1.5
DTYPE = torch.float32


@dataclass(frozen=True, slots=True)
class Call:
    """The sizes of an op's letters at a million elements, where equal ones would be no ordinary call, and its options."""

    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


CALLS: dict[str, Call] = {
    "conv1d": Call({"n": (16,), "c": (32,), "l": (2048,), "o": (32,), "k": (3,)}),
    "conv2d": Call({"n": (16,), "c": (16,), "h": (64,), "w": (64,), "o": (16,), "kh": (3,), "kw": (3,)}),
    "max_pool2d": Call({"n": (16,), "c": (16,), "h": (64,), "w": (64,)}),
    "avg_pool2d": Call({"n": (16,), "c": (16,), "h": (64,), "w": (64,)}),
    "batch_norm": Call({"n": (16,), "c": (16,), "s": (64, 64)}),
    "group_norm": Call({"n": (16,), "c": (16,), "s": (64, 64)}),
    "outer": Call({"m": (1000,), "n": (1000,)}),
    "bilinear": Call({"b": (1024,), "d_out": (32,), "d1": (64,), "d2": (64,)}),
    "embedding": Call({"s": (16_384,), "v": (10_000,), "d": (64,)}),
    "scaled_dot_product_attention": Call({"b": (16,), "n": (256,), "m": (256,), "d": (64,), "e": (64,)}),
    "rotary_embedding": Call({"b": (16,), "n": (1024,), "d": (32,)}),
    "lstm_cell": Call({"n": (512,), "d": (256,), "h": (256,)}),
    "gru_cell": Call({"n": (512,), "d": (256,), "h": (256,)}),
}

# why an op is slower than LIMIT, and stays so
STATISTICS = "torch's one kernel keeps the statistics of the forward; the rule takes them again, in passes of their own"
SELECTION = "a choice by a mask is several passes; torch's kernel compares and chooses in one"
REASONS: dict[str, str] = {
    "two_step_cross_entropy": "a rule has the inputs and the loss only: softmax and logarithm, which autograd keeps, run twice",
    "layer_norm": STATISTICS,
    "group_norm": STATISTICS,
    "clamp": SELECTION,
    "hardtanh": SELECTION,
    "elu": SELECTION,
    "softplus": SELECTION,
    "gelu": "the distribution and the density take a pass each; torch's kernel takes both in one",
    "bilinear": "a matrix of both inputs' sizes is made for each example; autograd's are of the output's and one input's",
    "dropout": "the mask, which autograd keeps, is drawn again from its seed",
    "max_pool2d": "the places of the maxima, which autograd keeps, are found again",
    "prod": "where the product underflows, as here, those before and after each element are taken, each a pass over all",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The median seconds of an op by hand and under autograd, and the shapes that they were taken on."""

    name: str
    by_hand: float
    autograd: float
    shapes: str

    @property
    def ratio(self) -> float:
        return self.by_hand / self.autograd


def call_of(op: Op, elements: int) -> Case | None:
    """A call of the op's first signature; None where its validators take none of the options that are tried."""
    call = CALLS.get(op.name, Call())
    shrink = elements / ELEMENTS
    sizes = dict(_equal_sizes(op.specs, elements))
    sizes |= {name: tuple(max(2, round(n * shrink)) if n > 64 else n for n in size) for name, size in call.sizes.items()}
    inputs = draw_inputs(op.specs, 0, sizes, DTYPE)
    for options in (dict(call.options), *_choices(op)):
        if op.takes(inputs, options):
            return Case(inputs, options)
    return None


def _equal_sizes(specs: Sequence[Spec], elements: int) -> Mapping[str, tuple[int, ...]]:
    letters = {dim.name: dim for spec in specs for dim in spec.dims if dim.size is None}
    ranks = {spec: sum(1 for dim in spec.dims if dim.size is None) for spec in specs}
    rank = max(ranks.values(), default=1)
    if rank == 1 and all(dim.variadic for dim in letters.values()):
        side = round(elements**0.5)
        return {name: (side, side) for name in letters}
    side = max(1, round(elements ** (1 / rank)))
    return {name: (max(1, side // dim.times),) for name, dim in letters.items()}


def _choices(op: Op) -> list[dict[str, Any]]:
    every = itertools.product(*op.choices.values())
    return [dict(zip(op.choices, values, strict=True)) for values in itertools.islice(every, 64)]


def measure(op: Op, case: Case, seconds: float, rounds: int) -> Cost:
    """Run both sides in turns for `seconds`, and at least `rounds` times after one round that is not counted."""
    options = dict(case.options)
    with torch.no_grad():
        output = op.forward(*case.inputs, **options)
    generator = torch.Generator().manual_seed(0)
    grad_outputs = tuple(random_like(value, generator) for value in as_tuple(output))
    several = isinstance(output, (tuple, list))
    given = grad_outputs if several else grad_outputs[0]

    def by_hand() -> None:
        with torch.no_grad():
            output = op.forward(*case.inputs, **options)
            op.backward(given, output, *case.inputs, **options)

    leaves = tuple(v.detach().requires_grad_() if is_differentiable(v) else v for v in case.inputs)
    wanted = [v for v in leaves if isinstance(v, torch.Tensor) and v.requires_grad]

    def autograd() -> None:
        outputs = as_tuple(op.forward(*leaves, **options))
        pairs = [(o, g) for o, g in zip(outputs, grad_outputs, strict=True) if o.requires_grad]
        torch.autograd.grad([o for o, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)

    times: tuple[list[float], list[float]] = ([], [])
    started = time.perf_counter()
    while len(times[0]) <= rounds or time.perf_counter() - started < seconds:
        for side, run in zip(times, (by_hand, autograd), strict=True):
            side.append(_seconds(run))
    shapes = ", ".join(str(tuple(v.shape)) for v in case.inputs if isinstance(v, torch.Tensor))
    return Cost(op.name, statistics.median(times[0][1:]), statistics.median(times[1][1:]), shapes)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def lines_of(costs: Sequence[Cost]) -> list[str]:
    """The table, slowest ratio first."""
    lines = [f"{'op':34} {'ratio':>6} {'by hand ms':>11} {'autograd ms':>12}  inputs"]
    for cost in sorted(costs, key=lambda cost: -cost.ratio):
        lines.append(f"{cost.name:34} {cost.ratio:6.2f} {1e3 * cost.by_hand:11.3f} {1e3 * cost.autograd:12.3f}  {cost.shapes}")
        if cost.ratio > LIMIT:
            lines.append(f"{'':34} {REASONS.get(cost.name, 'no reason is known: mend it')}")
    slow = [cost for cost in costs if cost.ratio > LIMIT]
    without = [cost.name for cost in slow if cost.name not in REASONS]
    lines.append(
        f"{len(costs)} ops, median ratio {statistics.median(cost.ratio for cost in costs):.2f}, {len(slow)} above {LIMIT}, "
        f"{len(without)} of them without a reason"
    )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="ops to measure; all of them if none is named")
    parser.add_argument("--quick", action="store_true", help=f"calls of about {QUICK} elements, a few rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    elements, seconds, rounds = (QUICK, 0.0, 5) if arguments.quick else (ELEMENTS, 1.0, 15)
    costs: list[Cost] = []
    for op in (op for family in ops.FAMILIES.values() for op in family):
        if arguments.names and op.name not in arguments.names:
            continue
        case = call_of(op, elements)
        if case is None:
            print(f"{op.name}: no call was found; give it one in CALLS")
            continue
        costs.append(measure(op, case, seconds, rounds))
    if costs:
        print("\n".join(lines_of(costs)))


if __name__ == "__main__":
    main()
