"""Sound calls that a check once flagged, each with why: the smallest that random draws led to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound import functions, losses, reductions, sequences
from tests.random_sound.forms import Rule, Subject, old_function


@dataclass(frozen=True)
class Flagged:
    """A sound call, and what about it was taken for a mistake."""

    name: str
    why: str
    subject: Callable[[], Subject]


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


def product_of_one() -> Subject:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.prod(-1)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output.unsqueeze(-1) * x.unsqueeze(-2).masked_fill(torch.eye(1, dtype=torch.bool), 1).prod(-1)

    return Subject(Product, (normal(3, 1, 1, seed=2).float(),))


def median_shared_by_its_ties() -> Subject:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        tied = (x == y.unsqueeze(-1)).to(x.dtype)
        return (tied / tied.sum(-1, keepdim=True) * g.unsqueeze(-1),)

    return Subject(gl.Op(lambda x: x.median(-1).values, backward), (normal(4, 5),))


ONCE_FLAGGED: tuple[Flagged, ...] = (
    Flagged("two kinks at 0 that cancel", "numbers see their mean, autograd the sum of two conventions", shared_zeros),
    Flagged("every unit at its kink", "no inputs close by switch all units off together", every_unit_at_its_kink),
    Flagged("saved output in a program", "1 - y cancels where the values are large", saved_output_in_a_program),
    Flagged("leading dimension", "a weight alone got one more", weight_with_a_leading_dimension),
    Flagged("numbers at a tie", "numbers see the mean of the sides, autograd one of them", numbers_at_a_tie),
    Flagged("product of one", "torch's second derivative, rounding alone, was taken for one that is missing", product_of_one),
    Flagged("median of ties", "a ramp up and the same ramp down leave the middle one where it is", median_shared_by_its_ties),
)
