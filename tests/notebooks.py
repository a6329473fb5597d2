"""Notebooks as people write them: a forward with everything retained, and a backward by hand, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Change = Callable[[str, Tensor, dict[str, Any]], Tensor]

LABELLED = ("W1", "b1", "W2", "b2", "gamma", "beta")


def unchanged(name: str, value: Tensor, terms: dict[str, Any]) -> Tensor:
    return value


def retained(tensors: list[Tensor]) -> None:
    for tensor in tensors:
        tensor.retain_grad()


def softmax_notebook(
    seed: int, scale: float, dtype: torch.dtype, change: Change = unchanged, keep: bool = False, unstable: bool = False
) -> dict[str, Tensor]:
    """A classifier with batch normalisation, every gradient by hand, each passed through `change` with its terms.

    `keep` retains the graph, `unstable` divides by probabilities as 1 / probs, which overflows in float32.
    """
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    n, d, h, c = 32, 10, 64, 27
    x, y = drawn(n, d), torch.randint(0, c, (n,), generator=g)
    W1, b1 = (drawn(d, h) * scale).requires_grad_(), (drawn(h) * 0.1).requires_grad_()
    W2, b2 = (drawn(h, c) * scale).requires_grad_(), (drawn(c) * 0.1).requires_grad_()
    gamma, beta = (drawn(1, h) * 0.1 + 1).requires_grad_(), (drawn(1, h) * 0.1).requires_grad_()
    hprebn = x @ W1 + b1
    bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * bndiff2.sum(0, keepdim=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = gamma * bnraw + beta
    hh = torch.tanh(hpreact)
    logits = hh @ W2 + b2
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdim=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), y].mean()
    retained([logprobs, probs, counts, counts_sum, counts_sum_inv, norm_logits, logit_maxes, logits, hh, hpreact, bnraw])
    retained([bnvar_inv, bnvar, bndiff2, bndiff, hprebn, bnmeani])
    loss.backward(retain_graph=keep)
    with torch.no_grad():
        dlogprobs = torch.zeros_like(logprobs)
        dlogprobs[range(n), y] = -1.0 / n
        dlogprobs = change("logprobs", dlogprobs, {})
        dprobs = change("probs", (1.0 / probs) * dlogprobs if unstable else dlogprobs / probs, {})
        dcounts_sum_inv = change("counts_sum_inv", (counts * dprobs).sum(1, keepdim=True), {"unsummed": counts * dprobs})
        dcounts_sum = change("counts_sum", (-(counts_sum**-2)) * dcounts_sum_inv, {})
        terms = counts_sum_inv * dprobs, torch.ones_like(counts) * dcounts_sum
        dcounts = change("counts", terms[0] + terms[1], {"terms": terms})
        dnorm_logits = change("norm_logits", counts * dcounts, {})
        dlogit_maxes = change("logit_maxes", (-dnorm_logits).sum(1, keepdim=True), {"unsummed": -dnorm_logits})
        terms = dnorm_logits, torch.nn.functional.one_hot(logits.max(1).indices, num_classes=c) * dlogit_maxes
        dlogits = change("logits", terms[0] + terms[1], {"terms": terms[:1]})
        dhh = change("hh", dlogits @ W2.T, {})
        dW2 = change("W2", hh.T @ dlogits, {"mean": n})
        db2 = change("b2", dlogits.sum(0), {"mean": n, "unsummed": dlogits})
        dhpreact = change("hpreact", (1.0 - hh**2) * dhh, {"wrong formula": (1.0 - hh) * dhh})
        dgamma = change("gamma", (bnraw * dhpreact).sum(0, keepdim=True), {"mean": n, "unsummed": bnraw * dhpreact})
        dbnraw = change("bnraw", gamma * dhpreact, {})
        dbeta = change("beta", dhpreact.sum(0, keepdim=True), {"mean": n, "unsummed": dhpreact})
        dbnvar_inv = change("bnvar_inv", (bndiff * dbnraw).sum(0, keepdim=True), {"mean": n, "unsummed": bndiff * dbnraw})
        dbnvar = change("bnvar", (-0.5 * (bnvar + 1e-5) ** -1.5) * dbnvar_inv, {})
        dbndiff2 = change("bndiff2", (1.0 / (n - 1)) * torch.ones_like(bndiff2) * dbnvar, {})
        terms = bnvar_inv * dbnraw, (2 * bndiff) * dbndiff2
        dbndiff = change("bndiff", terms[0] + terms[1], {"terms": terms})
        dbnmeani = change("bnmeani", (-dbndiff).sum(0, keepdim=True), {"mean": n, "unsummed": -dbndiff})
        terms = dbndiff, 1.0 / n * (torch.ones_like(hprebn) * dbnmeani)
        dhprebn = change("hprebn", terms[0] + terms[1], {"terms": terms})
        dW1 = change("W1", x.T @ dhprebn, {"mean": n})
        db1 = change("b1", dhprebn.sum(0), {"unsummed": dhprebn})
    return {name: value for name, value in locals().items() if isinstance(value, Tensor)}
