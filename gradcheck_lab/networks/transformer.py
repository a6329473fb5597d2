"""A transformer block that normalises first: attention and a gated layer, each with a residual connection."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.networks.data import load
from gradcheck_lab.ops import add, linear, matmul, mean, mul, reshape, rms_norm, silu, softmax, softmax_cross_entropy, transpose

Operand = Any
TOKENS, PIXELS, WIDTH, HEADS, GATED, CLASSES = 8, 8, 12, 3, 20, 10
ROWS = 48


def transformer_block(
    x: Operand,
    target: Operand,
    W_in: Operand,
    norm_1: Operand,
    W_query: Operand,
    W_key: Operand,
    W_value: Operand,
    W_attended: Operand,
    norm_2: Operand,
    W_gate: Operand,
    W_up: Operand,
    W_down: Operand,
    W_out: Operand,
) -> Operand:
    """Softmax cross-entropy of images whose rows are tokens: embedded, one block, averaged over tokens; no dimensions.

    `x` (n, tokens, pixels), `target` class labels (n,), `norm_1` and `norm_2` (d,), the matrices (d_out, d_in) as torch has
    them: `W_in` (d, pixels), those of the attention (d, d), `W_gate` and `W_up` (gated, d), `W_down` (d, gated), `W_out`
    (classes, d); tensors or Variables.
    Source: Vaswani et al., "Attention is all you need", 2017; normalising first: Xiong et al., 2020; RMS norm: Zhang and
    Sennrich, 2019; gate: Shazeer, "GLU variants improve transformer", 2020.
    """
    embedded = linear(x, W_in)
    normal_1 = rms_norm(embedded, norm_1)
    query = linear(normal_1, W_query)
    key = linear(normal_1, W_key)
    value = linear(normal_1, W_value)
    query_heads = in_heads(query)
    key_heads = in_heads(key)
    value_heads = in_heads(value)
    turned_keys = transpose(key_heads)
    products = matmul(query_heads, turned_keys)
    scores = mul(products, torch.tensor((HEADS / WIDTH) ** 0.5, dtype=x.dtype))
    attention = softmax(scores)
    mixed_heads = matmul(attention, value_heads)
    mixed_tokens = transpose(mixed_heads, dim0=1, dim1=2)
    mixed = reshape(mixed_tokens, shape=tuple(query.shape))
    attended = linear(mixed, W_attended)
    residual_1 = add(embedded, attended)
    normal_2 = rms_norm(residual_1, norm_2)
    gate_input = linear(normal_2, W_gate)
    gate = silu(gate_input)
    up = linear(normal_2, W_up)
    gated = mul(gate, up)
    down = linear(gated, W_down)
    residual_2 = add(residual_1, down)
    pooled = mean(residual_2, dim=1)
    logits = linear(pooled, W_out)
    loss = softmax_cross_entropy(logits, target)
    return loss


def in_heads(value: Operand) -> Operand:
    """(n, tokens, d) as (n, heads, tokens, d / heads)."""
    n, tokens, width = value.shape
    parted = reshape(value, shape=(n, tokens, HEADS, width // HEADS))
    heads = transpose(parted, dim0=1, dim1=2)
    return heads


def transformer_call(seed: int) -> tuple[torch.Tensor, ...]:
    """A few images of the digits as rows of pixels, their labels, and random parameters, float64."""
    digits = load(seed)
    generator = torch.Generator().manual_seed(seed)

    def matrix(d_out: int, d_in: int) -> torch.Tensor:
        value: torch.Tensor = torch.randn(d_out, d_in, generator=generator, dtype=torch.float64) / d_in**0.5
        return value

    def scale() -> torch.Tensor:
        value: torch.Tensor = 1 + 0.1 * torch.randn(WIDTH, generator=generator, dtype=torch.float64)
        return value

    return (
        digits.train_x[:ROWS].reshape(-1, TOKENS, PIXELS),
        digits.train_digits[:ROWS],
        matrix(WIDTH, PIXELS),
        scale(),
        *(matrix(WIDTH, WIDTH) for _ in range(4)),
        scale(),
        matrix(GATED, WIDTH),
        matrix(GATED, WIDTH),
        matrix(WIDTH, GATED),
        matrix(CLASSES, WIDTH),
    )
