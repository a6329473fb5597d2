"""How many drawn calls a second `gl.fuzz` examines, beside the bare cost of one manual and one oracle evaluation.

Run it alone on one core: `OMP_NUM_THREADS=1 python benchmarks/fuzz_rate.py [examples]`. An example is drawn, run by hand, run
by the oracle and compared; the bare cost is forward and backward by hand and under autograd, on the same calls.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from hypothesis import Phase, given, seed, settings

from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.fuzzing.run import DTYPES, SIZES, FuzzRun
from gradcheck_lab.fuzzing.search import Search
from gradcheck_lab.fuzzing.signatures import known_options
from gradcheck_lab.fuzzing.strategy import coded_recipes
from gradcheck_lab.rules.op import Op, as_tuple

OPS = (ops.linear, ops.relu, ops.matmul, ops.softmax_cross_entropy)
ROUNDS = 3


def seconds(run: Callable[[], object]) -> float:
    """The least processor time of a few runs; other work on the machine counts less than on the clock."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


def examine(op: Op, coding: Coding, examples: int) -> None:
    run = FuzzRun(op, (), max_examples=examples)
    search = Search(run.examiner, coded_recipes(coding), examples, 0, "benchmark")
    assert search.run() is None
    assert search.examples == examples


def draw(coding: Coding, examples: int) -> list[Case]:
    cases: list[Case] = []

    @seed(0)
    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate])
    @given(coded_recipes(coding))
    def collect(call: object) -> None:
        cases.append(call.build())  # type: ignore[attr-defined]

    collect()
    return cases


def evaluate(op: Op, case: Case) -> None:
    """One manual and one oracle evaluation, nothing else."""
    with torch.no_grad():
        output = op.forward(*case.inputs, **case.options)
        grad_output = torch.ones_like(output)
        as_tuple(op.backward(grad_output, output, *case.inputs, **case.options))
    leaves = [value.detach().requires_grad_() if value.is_floating_point() else value for value in case.inputs]
    wanted = [value for value in leaves if value.requires_grad]
    torch.autograd.grad(op.forward(*leaves, **case.options), wanted, grad_output)


def line(op: Op, examples: int) -> str:
    coding = Coding(op.signatures, SIZES, DTYPES, known_options(op, op.specs))
    cases = draw(coding, examples)
    examine(op, coding, 50)
    total = seconds(lambda: examine(op, coding, examples)) / examples
    drawn = seconds(lambda: draw(coding, examples)) / examples
    bare = seconds(lambda: [evaluate(op, case) for case in cases]) / len(cases)
    return f"{op.name:24} {1 / total:10.0f} {1 / drawn:10.0f} {1e3 * total:10.2f} {1e3 * bare:8.3f} {total / bare:6.1f}"


def main(examples: int) -> None:
    torch.set_num_threads(1)
    print(f"{'op':24} {'examples/s':>10} {'draws/s':>10} {'ms/example':>10} {'ms bare':>8} {'ratio':>6}")
    for op in OPS:
        print(line(op, examples), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
