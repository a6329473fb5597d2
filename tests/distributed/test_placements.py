"""How tensors are cut, summed and joined, and how they are sent: with the strides that they have."""

from __future__ import annotations

import json
import multiprocessing

import pytest
import torch
from torch.distributed import tensor as torch_tensor

from gradcheck_lab.distributed.messages import Message, packed, receive, send
from gradcheck_lab.distributed.placements import (
    Partial,
    Placement,
    Replicate,
    Shard,
    placed_on,
    placement_of,
    terms_of,
    whole_of,
)
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.workers.messages import NoMessage

X = torch.arange(24.0, dtype=torch.float64).reshape(4, 6) - 7


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_terms_add_up_exactly(ranks: int) -> None:
    value = torch.randn(5, 3, dtype=torch.float64) * 1e-9
    terms = terms_of(value, ranks, seed=0)
    assert len(terms) == ranks
    assert torch.allclose(sum(terms), value, rtol=1e-15, atol=0)
    assert ranks == 1 or not any(torch.equal(term, value / ranks) for term in terms)


@pytest.mark.parametrize("placement", [Shard(0), Shard(-1), Partial(), Replicate(), Replicate("partial")])
def test_what_is_placed_is_joined_again(placement: Placement) -> None:
    parts = placed_on(X, placement, 2, seed=1)
    assert torch.equal(whole_of(parts, placement, 1), X)
    assert all(part.is_contiguous() for part in parts)


def test_part_of_what_is_not_contiguous_is_not_either() -> None:
    assert not placed_on(X.T, Shard(0), 2, 0)[0].is_contiguous()
    assert placed_on(X.T, Partial(), 2, 0)[0].stride() == X.T.stride()


@pytest.mark.parametrize(
    ("written", "placement"),
    [
        ("replicate", Replicate()),
        ("Replicated", Replicate()),
        ("replicate:partial", Replicate("partial")),
        ("shard:1", Shard(1)),
        ("sharded:-2", Shard(-2)),
        ("partial", Partial()),
        (torch_tensor.Shard(1), Shard(1)),
        (torch_tensor.Replicate(), Replicate()),
        (torch_tensor.Partial(), Partial()),
    ],
)
def test_placement_is_read(written: object, placement: Placement) -> None:
    assert placement_of(written, "x") == placement
    assert placement_of(placement.text, "x") == placement


@pytest.mark.parametrize("value", [X, X.T, X[1:, ::2], X[:1].expand(3, 6), X[:0], X[0, 0], X > 0, X.to(torch.bfloat16), X * 1j])
def test_tensor_arrives_as_it_was_sent(value: torch.Tensor) -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    send(sender, packed(Message({"what": "forward"}, [value, 3, "text", None])))
    found = receive(receiver)
    assert found.about == {"what": "forward"}
    assert torch.equal(found.values[0], value)
    assert found.values[0].dtype == value.dtype
    assert found.values[0].stride() == value.stride()
    assert found.values[1:] == [3, "text", None]


TENSOR = {"dtype": "float64", "shape": [2], "stride": [1], "offset": 0}


@pytest.mark.parametrize(
    ("head", "block"),
    [
        ([], b""),
        ({"about": {}, "values": [{"dtype": "Tensor"}]}, b""),
        ({"about": {}, "values": [TENSOR]}, b"12345678"),
        ({"about": {}, "values": [{**TENSOR, "stride": [-1]}]}, bytes(16)),
        ({"about": {}, "values": [{**TENSOR, "shape": [1, 1]}]}, bytes(16)),
        ({"about": {}, "values": [{"plain": {}}]}, b""),
    ],
)
def test_what_is_no_message_is_refused(head: object, block: bytes) -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.send_bytes(json.dumps(head).encode())
    sender.send_bytes(block)
    with pytest.raises(NoMessage):
        receive(receiver)


@pytest.mark.parametrize("value", ["shard", "shard:x", "sum", 0, None, torch_tensor.Partial("avg")])
def test_what_is_no_placement_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        placement_of(value, "x")
    assert str(caught.value).startswith("the placement of x is ")
    assert str(caught.value).endswith(
        "; pass gl.Replicate(), gl.Shard(0) or gl.Partial(), or their text 'replicate', 'shard:0', 'partial'"
    )
