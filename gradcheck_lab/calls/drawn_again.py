"""A call drawn again: what one draw shows may be its numbers, so that errors and explanations have to hold on others too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.similar_values import similar_values
from gradcheck_lab.model.amounts import FURTHER_DRAWS, SEED_OF_FURTHER_DRAWS

Draw = Callable[[int], tuple[Any, ...]]


def drawn_again(case: Case, draws: tuple[Draw | None, ...]) -> Iterator[Case]:
    """Independent draws of a case: other random numbers and upstream gradients, and the inputs that each draw makes of a seed.

    A draw of None keeps the inputs: for what other values do not show, and for calls whose inputs cannot be drawn again.
    """
    for number, draw in enumerate(draws):
        seed = case.seed + SEED_OF_FURTHER_DRAWS.value + number
        yield replace(case, seed=seed, inputs=case.inputs if draw is None else draw(seed), grad_outputs=None)


def of_one_kind(draw: Draw | None) -> tuple[Draw | None, ...]:
    """The same kind of draw as often as an error has to be looked for again."""
    return (draw,) * FURTHER_DRAWS.value


def similar_inputs(inputs: tuple[Any, ...]) -> Draw:
    """Draws inputs similar to these; a tensor that is given twice is again, and masks, labels and indices are kept."""

    def draw(seed: int) -> tuple[Any, ...]:
        generator, drawn = torch.Generator().manual_seed(seed), dict[int, torch.Tensor]()
        for value in inputs:
            if is_differentiable(value) and id(value) not in drawn:
                drawn[id(value)] = similar_values(value, value.shape, generator)
        return tuple(drawn.get(id(value), value) for value in inputs)

    return draw
