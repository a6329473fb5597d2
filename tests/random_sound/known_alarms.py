"""Sound subjects that a check still flags: kept out of the random pool by name, each with its reason and its smallest call.

The tests of these calls are expected to fail, strictly: whoever mends one deletes its entry, and its row is drawn again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.random_sound import functions, normalisations
from tests.random_sound.forms import Subject


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


def equal_queries() -> Subject:
    inputs = tuple(normal(4, 2, seed=seed) for seed in range(3))
    return Subject(gl.Op(normalisations.attending(False), normalisations.flash_attention_backward(False)), inputs)


def every_unit_at_its_kink() -> Subject:
    return Subject(functions.TwoLayers(normal(2, 3), normal(3, 2, seed=1)), (torch.zeros(4, 2, dtype=torch.float64),))


def kept_buffers() -> Subject:
    return Subject(functions.AccumulatingLayers(normal(2, 3), normal(3, 2, seed=1)), (normal(4, 2, seed=2),))


def gradients_in_a_dictionary() -> Subject:
    return Subject(functions.DictionaryLayer(normal(3, 2), normal(2)), (normal(4, 3, seed=2),))


KNOWN_ALARMS: tuple[Alarm, ...] = (
    Alarm("two kinks at 0 that cancel", "inconclusive: manual and numbers agree to bfloat16 only", shared_zeros, ("softplus",)),
    Alarm("equal queries", "tie-mass: the sum cancels to rounding", equal_queries, ("flash_attention",)),
    Alarm("every unit at its kink", "several kinks meet in an element", every_unit_at_its_kink, ("two_layers",)),
    Alarm("kept buffers", "sizes leaves a layer's gradient buffers as they are", kept_buffers, ("accumulating_layers",)),
    Alarm("dictionary", "gradients are not found by key", gradients_in_a_dictionary, ("dictionary_layer",)),
)
