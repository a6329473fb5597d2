"""Notebooks: hand-made gradients beside autograd's, where a tensor is used several times and its uses do not all arrive."""

from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import gradcheck_lab as gl


def finished(values: dict[str, Any]) -> dict[str, Tensor]:
    """Run backward as a notebook does, its graph freed, and give every tensor the right hand-made gradient."""
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.requires_grad}
    for value in tensors.values():
        if not value.is_leaf:
            value.retain_grad()
    tensors["loss"].backward()
    for value in tensors.values():
        assert value.grad is not None
        value.grad_ = value.grad.clone()  # type: ignore[attr-defined]
    return tensors


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def cross_entropy(n: int, c: int, seed: int) -> dict[str, Tensor]:
    logits = drawn(n, c, seed=seed)
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdim=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[torch.arange(n), torch.arange(n) % c].mean()
    return finished(locals())


def block(n: int, d: int, seed: int) -> dict[str, Tensor]:
    x, w = drawn(n, d, seed=seed), drawn(d, d, seed=seed + 1)
    h = torch.tanh(x @ w)
    squared = h * h
    mixed = h @ w
    gate = torch.sigmoid(h)
    y = squared + mixed + gate
    loss = (y * y).sum()
    return finished(locals())


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 6), d=st.integers(2, 6), seed=st.integers(0, 2**16))
@pytest.mark.parametrize("make", [cross_entropy, block])
def test_right_gradients_pass(make: Any, n: int, d: int, seed: int) -> None:
    assert gl.compare(make(n, d, seed)).verdict == "pass"


@settings(max_examples=10, deadline=None)
@given(n=st.integers(3, 6), c=st.integers(3, 6), seed=st.integers(0, 2**16))
@pytest.mark.parametrize(("kept", "lost"), [("probs", "counts_sum"), ("counts_sum", "probs")])
def test_use_that_overwrites_another_is_named_by_the_users_variables(kept: str, lost: str, n: int, c: int, seed: int) -> None:
    values = cross_entropy(n, c, seed)
    counts, inverse, total, probs = (values[name] for name in ("counts", "counts_sum_inv", "counts_sum", "probs"))
    assert probs.grad is not None
    assert total.grad is not None
    sent = {"probs": (inverse * probs.grad).detach(), "counts_sum": total.grad.expand_as(counts).clone()}
    counts.grad_ = sent[kept]  # type: ignore[attr-defined]
    (finding,) = gl.compare(values).findings
    assert finding.cause == "fan-out-overwritten"
    assert finding.explanation in (
        f"'counts' is used in {kept} and in {lost}, and only what {kept} sends back arrives",
        f"'counts' is used in {lost} and in {kept}, and only what {kept} sends back arrives",
    )
    assert finding.suggestion == "add the gradients of all uses of 'counts': += where there is ="


@settings(max_examples=10, deadline=None)
@given(n=st.integers(3, 6), d=st.integers(3, 6), seed=st.integers(0, 2**16))
@pytest.mark.parametrize("kept", [kept for k in (1, 2) for kept in combinations(("squared", "mixed", "gate"), k)], ids="-".join)
def test_every_subset_of_three_uses_is_told(kept: tuple[str, ...], n: int, d: int, seed: int) -> None:
    values = block(n, d, seed)
    h, w = values["h"].detach(), values["w"].detach()
    g = {name: values[name].grad for name in ("squared", "mixed", "gate")}
    assert all(grad is not None for grad in g.values())
    s = torch.sigmoid(h)
    sent = {"squared": 2 * g["squared"] * h, "mixed": g["mixed"] @ w.T, "gate": g["gate"] * s * (1 - s)}  # type: ignore[operator]
    values["h"].grad_ = sum(sent[name] for name in kept)  # type: ignore[attr-defined]
    (finding,) = gl.compare(values).findings
    assert finding.cause == "fan-out-overwritten"
    assert all(name in finding.explanation.rsplit("only what", 1)[1] for name in kept)
    assert not any(name in finding.explanation.rsplit("only what", 1)[1] for name in sent if name not in kept)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(3, 6), d=st.integers(3, 6), seed=st.integers(0, 2**16))
def test_other_mistakes_are_not_laid_at_a_use(n: int, d: int, seed: int) -> None:
    values = block(n, d, seed)
    values["h"].grad_ = torch.sin(7 * values["h"]).detach()  # type: ignore[attr-defined]
    (finding,) = gl.compare(values).findings
    assert finding.cause == "wrong-value"


def test_gradients_that_autograd_holds_are_left_alone() -> None:
    values = block(3, 3, 0)
    before = {name: value.grad.clone() for name, value in values.items() if value.grad is not None}
    values["h"].grad_ = torch.zeros(3, 3)  # type: ignore[attr-defined]
    gl.compare(values)
    assert all(torch.equal(before[name], values[name].grad) for name in before)  # type: ignore[arg-type]
