"""A long short-term memory, unrolled over the rows of an image with the same weights at every step."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.networks.data import load
from gradcheck_lab.ops import add, linear, mul, reshape, sigmoid, softmax_cross_entropy, split, tanh

Operand = Any
STEPS, PIXELS, HIDDEN, CLASSES = 8, 8, 12, 10
ROWS = 48


def unrolled_lstm(
    x: Operand, target: Operand, W_x: Operand, W_h: Operand, bias: Operand, W_out: Operand, b_out: Operand
) -> Operand:
    """Softmax cross-entropy of what is remembered after the last step, averaged over the batch; of no dimensions.

    `x` (n, steps, pixels), `target` class labels (n,), `W_x` (4 hidden, pixels), `W_h` (4 hidden, hidden), `bias` (4 hidden,)
    with the gates in torch's order (input, forget, cell, output), `W_out` (classes, hidden), `b_out` (classes,); tensors or
    Variables. The memory begins with zeros.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; forget gate: Gers et al., 2000.
    """
    n, _, pixels = x.shape
    hidden = W_h.shape[1]
    memory = torch.zeros(n, hidden, dtype=W_h.dtype, device=W_h.device)
    shown = memory
    rows = split(x, split_size=1, dim=1)
    for row in rows:
        seen = reshape(row, shape=(n, pixels))
        from_row = linear(seen, W_x, bias)
        from_shown = linear(shown, W_h)
        gates = add(from_row, from_shown)
        input_gate, forget_gate, cell_gate, output_gate = split(gates, split_size=hidden, dim=1)
        enter = sigmoid(input_gate)
        keep = sigmoid(forget_gate)
        fresh = tanh(cell_gate)
        leave = sigmoid(output_gate)
        kept = mul(keep, memory)
        entered = mul(enter, fresh)
        memory = add(kept, entered)
        squashed = tanh(memory)
        shown = mul(leave, squashed)
    logits = linear(shown, W_out, b_out)
    loss = softmax_cross_entropy(logits, target)
    return loss


def lstm_call(seed: int) -> tuple[torch.Tensor, ...]:
    """A few images of the digits as eight rows of pixels, their labels, and random parameters, float64."""
    digits = load(seed)
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        value: torch.Tensor = torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
        return value

    return (
        digits.train_x[:ROWS].reshape(-1, STEPS, PIXELS),
        digits.train_digits[:ROWS],
        drawn(4 * HIDDEN, PIXELS),
        drawn(4 * HIDDEN, HIDDEN),
        drawn(4 * HIDDEN),
        drawn(CLASSES, HIDDEN),
        drawn(CLASSES),
    )
