"""The reference networks by name: the program, the inputs of its check, and its training settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.networks.arithmetic import arithmetic
from gradcheck_lab.networks.batch_norm_mlp import batch_norm_mlp, letters_call
from gradcheck_lab.networks.conv_net import conv_call, conv_net
from gradcheck_lab.networks.data import load
from gradcheck_lab.networks.digits import digits_classifier, digits_regressor, initial_parameters
from gradcheck_lab.networks.lockstep import Program
from gradcheck_lab.networks.lstm import lstm_call, unrolled_lstm
from gradcheck_lab.networks.shopping import price_of_apples, price_of_fruit
from gradcheck_lab.networks.transformer import transformer_block, transformer_call
from gradcheck_lab.networks.two_layer import relu_net, sigmoid_net

ROWS = 64

Inputs = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """One program, the inputs that a seed gives it, and for one that trains its `rate` and full-batch `epochs`.

    The inputs of a network that trains are its data, its targets and its parameters, in this order.
    """

    title: str
    program: Program
    inputs: Callable[[int], Inputs]
    rate: float = 0.0
    epochs: int = 0


def _numbers(*values: float) -> Callable[[int], Inputs]:
    return lambda seed: tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def _drawn(*shapes: tuple[int, ...]) -> Callable[[int], Inputs]:
    def inputs(seed: int) -> Inputs:
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)

    return inputs


def _digits(*sizes: int) -> Callable[[int], Inputs]:
    def inputs(seed: int) -> Inputs:
        digits = load(seed)
        target = digits.train_digits[:ROWS]
        if sizes[-1] == 1:
            target = target.double().unsqueeze(1)
        return digits.train_x[:ROWS], target, *initial_parameters(*sizes, generator=torch.Generator().manual_seed(seed))

    return inputs


NETWORKS: tuple[Network, ...] = (
    Network("apples and tax", price_of_apples, _numbers(100, 2, 1.1)),
    Network("apples, oranges and tax", price_of_fruit, _numbers(100, 2, 150, 3, 1.1)),
    Network("define-by-run arithmetic", arithmetic, _drawn((2, 6), (2, 6), (3, 2))),
    Network("digits classifier", digits_classifier, _digits(64, 32, 10), 0.3, 20),
    Network("digits regressor", digits_regressor, _digits(64, 30, 1), 0.02, 20),
    Network("two layers with sigmoid", sigmoid_net, _digits(64, 20, 10), 1.0, 20),
    Network("two layers with relu", relu_net, _digits(64, 20, 10), 0.3, 20),
    Network("batch normalisation in single steps", batch_norm_mlp, letters_call, 0.5, 20),
    Network("transformer block", transformer_block, transformer_call, 0.3, 10),
    Network("convolutions", conv_net, conv_call, 0.1, 20),
    Network("LSTM of 8 steps", unrolled_lstm, lstm_call, 1.0, 10),
)
