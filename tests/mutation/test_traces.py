"""What a backward returned is kept by its call, whatever the strides of the tensors are."""

from __future__ import annotations

import torch

from gradcheck_lab.mutation.traces import Trace, Tried, differences


def trace_of(value: torch.Tensor, upstream: torch.Tensor) -> Trace:
    trace = Trace()
    trace.hear((torch.ones(2),), {"dim": 0}, (upstream,), (value, None))
    return trace


def test_one_element_with_a_stride_is_a_key_too() -> None:
    strided = torch.arange(4.0)[1::2][:1]
    assert strided.stride() == (2,)
    assert not list(differences(trace_of(torch.ones(2), strided), trace_of(torch.ones(2), strided)))


def test_other_gradients_of_the_same_call_differ_and_those_of_other_calls_are_not_compared() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-4])
    assert len(list(differences(trace_of(one, torch.ones(2)), trace_of(other, torch.ones(2))))) == 1
    assert not list(differences(trace_of(one, torch.ones(2)), trace_of(one * (1 + 1e-7), torch.ones(2))))
    assert not list(differences(trace_of(one, torch.ones(2)), trace_of(other, torch.zeros(2))))
    assert len(list(differences(trace_of(one, torch.ones(2)), trace_of(one.double(), torch.ones(2))))) == 1
    assert len(list(differences(trace_of(one, torch.ones(2)), trace_of(one * float("nan"), torch.ones(2))))) == 1


def test_none_says_as_much_as_a_gradient_without_elements_and_an_exception_does_not() -> None:
    def tried(returned: tuple[object, ...] | None) -> Tried:
        return Tried((torch.ones(0),), {}, (torch.ones(()),), returned)

    empty = tried((torch.ones(0),))
    assert tried((None,)).has_as_much_as(empty)
    assert not tried(None).has_as_much_as(empty)
    assert not tried((None,)).has_as_much_as(tried((torch.ones(1),)))
