"""A character model that computes batch normalisation and cross-entropy in single steps, so that every step is compared."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.ops import (
    add,
    amax,
    div,
    embedding,
    exp,
    gather,
    log,
    matmul,
    mean,
    mul,
    neg,
    pow,
    reshape,
    rsqrt,
    sub,
    sum,
    tanh,
)

Operand = Any
LETTERS = ".abcdefghijklmnopqrstuvwxyz"
NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
).split()
CONTEXT, WIDTH, HIDDEN = 3, 10, 32
EPSILON = 1e-5


def batch_norm_mlp(
    context: Operand,
    target: Operand,
    C: Operand,
    W1: Operand,
    gain: Operand,
    bias: Operand,
    W2: Operand,
    b2: Operand,
) -> Operand:
    """The mean cross-entropy of the next letter after each `context`; a tensor of no dimensions.

    `context` (n, 3) and `target` (n,) letters as indices, `C` (27, d), `W1` (3 d, hidden), `gain` and `bias` (hidden,),
    `W2` (hidden, 27), `b2` (27,); tensors or Variables. The variance divides by n - 1. There is no bias before the
    normalisation: the mean would take it away again, and its gradient be nothing but rounding.
    Source: Karpathy, "Neural networks: zero to hero", 2022, lecture 5, "Becoming a backprop ninja".
    """
    n = len(target)
    emb = embedding(context, C)
    embcat = reshape(emb, shape=(n, -1))
    hprebn = matmul(embcat, W1)
    bnsum = sum(hprebn, dim=0, keepdim=True)
    bnmeani = div(bnsum, _like(n, C))
    bndiff = sub(hprebn, bnmeani)
    bndiff2 = pow(bndiff, torch.tensor(2))
    bnsum2 = sum(bndiff2, dim=0, keepdim=True)
    bnvar = div(bnsum2, _like(n - 1, C))
    bnvar_shifted = add(bnvar, _like(EPSILON, C))
    bnvar_inv = rsqrt(bnvar_shifted)
    bnraw = mul(bndiff, bnvar_inv)
    bnscaled = mul(gain, bnraw)
    hpreact = add(bnscaled, bias)
    h = tanh(hpreact)
    product2 = matmul(h, W2)
    logits = add(product2, b2)
    logit_maxes = amax(logits, dim=1, keepdim=True)
    norm_logits = sub(logits, logit_maxes)
    counts = exp(norm_logits)
    counts_sum = sum(counts, dim=1, keepdim=True)
    counts_sum_inv = pow(counts_sum, torch.tensor(-1))
    probs = mul(counts, counts_sum_inv)
    logprobs = log(probs)
    chosen = gather(logprobs, target.reshape(-1, 1))
    average = mean(chosen)
    loss = neg(average)
    return loss


def letters() -> tuple[torch.Tensor, torch.Tensor]:
    """Every three letters in the names of the Greek alphabet, and the letter that follows, as indices (n, 3) and (n,).

    >>> context, target = letters()
    >>> ["".join(LETTERS[i] for i in row) for row in context[:3].tolist()], LETTERS[int(target[0])]
    (['...', '..a', '.al'], 'a')
    """
    rows, following = [], []
    for name in NAMES:
        text = "." * CONTEXT + name + "."
        for start in range(len(name) + 1):
            rows.append([LETTERS.index(letter) for letter in text[start : start + CONTEXT]])
            following.append(LETTERS.index(text[start + CONTEXT]))
    return torch.tensor(rows), torch.tensor(following)


def letters_call(seed: int) -> tuple[torch.Tensor, ...]:
    """All letters and random parameters, float64; none is zero, because a zero can hide a wrong gradient."""
    generator = torch.Generator().manual_seed(seed)
    count, rows = len(LETTERS), CONTEXT * WIDTH

    def drawn(*shape: int, deviation: float = 0.1) -> torch.Tensor:
        value: torch.Tensor = torch.randn(shape, generator=generator, dtype=torch.float64) * deviation
        return value

    return (
        *letters(),
        drawn(count, WIDTH, deviation=1.0),
        drawn(rows, HIDDEN, deviation=5 / 3 / rows**0.5),
        1 + drawn(HIDDEN),
        drawn(HIDDEN),
        drawn(HIDDEN, count),
        drawn(count),
    )


def _like(number: float, value: Operand) -> torch.Tensor:
    return torch.tensor(number, dtype=value.dtype, device=value.device)
