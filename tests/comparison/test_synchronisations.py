"""How often a comparison reads a number from the device that the gradient is on, where each read waits for all work there."""

import math
from typing import Any

import pytest
import torch

from gradcheck_lab.comparison import budget, slices
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.torch_internals import DispatchMode
from tests.mistakes.registry import normal

READS = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero")


class Reads(DispatchMode):
    """Counts operators that wait for the device; `numbers`, which copies several values at once, counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.count += func._schema.name in READS
        return func(*args, **kwargs)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    counted = Reads()

    def counting(*values: torch.Tensor) -> list[float]:
        counted.count += 1
        return slices.at_once(*values)

    monkeypatch.setattr(slices, "numbers", counting)
    monkeypatch.setattr(budget, "numbers", counting)
    return counted


TRUTH = normal(64, 32)


@pytest.mark.parametrize(
    ("actual", "references", "at_most"),
    [
        (TRUTH.float(), [], 1),
        (TRUTH.float() * (1 + 1e-6), [], 4),
        (TRUTH.float() * 2, [], 4),
        (TRUTH.float(), [TRUTH + 1e-8, TRUTH - 1e-8, TRUTH * (1 + 1e-7)], 3),
    ],
    ids=["within rounding", "within a slice's budget", "wrong", "with references"],
)
def test_one_gradient_is_judged_in_few_reads(
    reads: Reads, actual: torch.Tensor, references: list[torch.Tensor], at_most: int
) -> None:
    with reads:
        judge(actual, TRUTH, torch.float32, references)
    assert 0 < reads.count <= at_most


def test_further_references_and_axes_cost_no_further_read(reads: Reads) -> None:
    counts = []
    for shape, many in (((64, 32), 1), ((4, 4, 4, 4), 5)):
        truth = normal(*shape)
        reads.count = 0
        with reads:
            judge(truth.float(), truth, torch.float32, [truth + 1e-8 * k for k in range(many)])
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_what_is_read_at_once_is_the_same() -> None:
    values = [torch.tensor(3), torch.tensor(math.inf), torch.tensor(0.1, dtype=torch.float64), torch.tensor(True)]
    assert slices.numbers(*values) == slices.at_once(*values) == [3.0, math.inf, 0.1, 1.0]
