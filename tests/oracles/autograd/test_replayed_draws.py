"""Random tensors are the same on every run of a forward, whatever its dtype."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.randomness import seed_all, torch_drawn_since, torch_states
from gradcheck_lab.oracles.autograd.replayed_draws import RecordedDraws, replayed
from gradcheck_lab.subjects.function import adapt_function
from gradcheck_lab.subjects.runner import Runner
from tests.subjects.functions.activations import DropoutWithMask

FORWARDS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x * (torch.rand_like(x) > 0.5),
    lambda x: x * torch.randn(x.shape, dtype=x.dtype).sign(),
    lambda x: x * torch.empty_like(x).uniform_(-1, 1).round(),
    lambda x: x * torch.bernoulli(torch.full_like(x, 0.3)),
    lambda x: F.dropout(x, 0.5),
    lambda x: torch.native_dropout(x, 0.5, True)[0],
    lambda x: x[torch.randperm(len(x))],
)


@pytest.mark.parametrize("forward", FORWARDS)
def test_replay_draws_the_same_in_a_wider_dtype(forward: Callable[[Tensor], Tensor]) -> None:
    x = torch.arange(1, 101, dtype=torch.float32)
    draws = RecordedDraws()
    with draws.record():
        first = forward(x)
    wide = x.double().requires_grad_()
    for _ in range(2):
        with draws.replay():
            again = forward(wide)
        assert torch.equal(first.double(), again.detach())
        assert again.requires_grad


def test_run_that_draws_otherwise_draws_for_itself() -> None:
    draws = RecordedDraws()
    with draws.record():
        torch.rand(3)
    with draws.replay():
        assert torch.rand(4).shape == (4,)
        assert torch.rand(2).shape == (2,)


def test_order_of_draws_is_kept() -> None:
    draws = RecordedDraws()
    with draws.record():
        first = torch.rand(3), torch.rand(3)
    with draws.replay():
        again = torch.rand(3), torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(*first)


def test_replayed_subject_drops_the_same_elements_in_every_dtype() -> None:
    x = torch.arange(1, 101, dtype=torch.float32)
    subject = adapt_function(DropoutWithMask, (x, 0.5), {})
    assert subject is not None
    assert subject.trace is not None
    again = replayed(Runner(subject), Case(subject.inputs, seed=3)).subject
    assert again.trace is not None
    seed_all(3)
    before = torch_states()
    (first,) = subject.record(subject.inputs, {}).outputs
    assert torch_drawn_since(before)
    wide = (x.double().requires_grad_(), 0.5)
    (followed,), (plain,) = again.trace(wide, {}, frozenset()).outputs, again.forward(wide, {})
    assert torch.equal(first.detach().double(), followed.detach())
    assert torch.equal(first.detach().double(), plain.detach())
    assert followed.requires_grad
