"""Sound subjects that a check still flags: kept out of the random pool by name, each with its reason and its smallest call.

The tests of these calls are expected to fail, strictly: whoever mends one deletes its entry, and its row is drawn again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound import functions, losses, reductions, sequences
from tests.random_sound.forms import Rule, Subject, old_function


@dataclass(frozen=True)
class Alarm:
    """Why rows of the pool are left out, and the smallest call that shows it."""

    name: str
    reason: str
    subject: Callable[[], Subject]
    rows: tuple[str, ...] = ()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shared_zeros() -> Subject:
    def forward(x: Tensor) -> Tensor:
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    x = torch.tensor([0.0, 1.5, -0.75, 0.0, 2.5], dtype=torch.bfloat16)
    return Subject(gl.Op(forward, lambda g, y, x: (torch.sigmoid(x) * g,)), (x,))


def every_unit_at_its_kink() -> Subject:
    return Subject(functions.TwoLayers(normal(2, 3), normal(3, 2, seed=1)), (torch.zeros(4, 2, dtype=torch.float64),))


def saved_output_in_a_program() -> Subject:
    op = gl.Op(losses.dice_loss, losses.dice_loss_backward)

    def program(p: Tensor, t: Tensor) -> Tensor:
        return op(p, t)

    return Subject(program, (normal(2, 4).abs() + 0.3, normal(2, 4, seed=1).abs() + 0.3))


def weight_with_a_leading_dimension() -> Subject:
    cell = Rule(sequences.next_state, sequences.next_state_backward, ())

    class Cell(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W = torch.nn.Parameter(normal(1, 2, seed=2))
            self.U = torch.nn.Parameter(normal(2, 2, seed=3))
            self.h = torch.nn.Parameter(normal(1, 2, seed=1))

        def forward(self, x: Tensor) -> Tensor:
            return old_function(cell).apply(x, self.h, self.W, self.U)

    return Subject(Cell(), (normal(1, 1),))


def numbers_at_a_tie() -> Subject:
    op = gl.Op(reductions.lower_median, reductions.lower_median_backward)
    return Subject(op, ((normal(1, 4, 5, seed=5) * 1.5).round().float(),))


KNOWN_ALARMS: tuple[Alarm, ...] = (
    Alarm("two kinks at 0 that cancel", "inconclusive: manual and numbers agree to bfloat16 only", shared_zeros, ("softplus",)),
    Alarm(
        "every unit at its kink",
        "several kinks meet in an element",
        every_unit_at_its_kink,
        ("two_layers", "accumulating_layers"),
    ),
    Alarm("saved output in a program", "1 - y cancels; allowed outside of programs", saved_output_in_a_program, ("dice",)),
    Alarm("leading dimension", "a weight alone gets one more", weight_with_a_leading_dimension, ("recurrent_cell",)),
    Alarm("numbers at a tie", "inconclusive: numbers see another subgradient", numbers_at_a_tie, ("middle",)),
)
