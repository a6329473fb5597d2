"""Memory that is left unwritten in ops of programs, in large calls and in drawn calls: named so whatever it holds."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.probes.support.dirty_memory import dirty_memory
from gradcheck_lab.specs import real
from tests.mistakes.registry import normal


def in_blocks(value: Tensor, block: int, wrong: bool) -> Tensor:
    """Written block by block, without the last that is not full, to new memory."""
    out = torch.empty(value.shape, dtype=value.dtype)
    whole = value.numel() // block * block if wrong else value.numel()
    out.view(-1)[:whole] = value.reshape(-1)[:whole]
    return out


def square(block: int, wrong: bool, forward: bool = False) -> Any:
    return gl.Op(
        lambda x: in_blocks(x * x, block, wrong and forward),
        lambda g, y, x: (in_blocks(2 * x * g, block, wrong and not forward),),
        name="square",
    )


def program(op: Any) -> Any:
    return lambda x, w: op(ops.matmul(x, w))


# a wrong gradient at many sizes is explained at each, which takes seconds
SIZES = [pytest.param((3, 5), id="given"), pytest.param((4, 4), id="others", marks=pytest.mark.thorough)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("wrong", [True, False])
def test_op_of_a_program(wrong: bool, sizes: tuple[int, int]) -> None:
    n, m = sizes
    report = gl.check(program(square(4, wrong)), normal(n, 4), normal(4, m, seed=1), probes=("poison", "sizes"))
    errors = [f for f in report.findings if f.severity == "error"]
    assert report.verdict == ("fail" if wrong else "pass")
    assert {f.cause for f in errors} == ({"unwritten-elements"} if wrong else set())
    assert not wrong or errors[0].op == "square"


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("wrong", [True, False])
def test_drawn_call(wrong: bool, forward: bool) -> None:
    report = gl.fuzz(square(3, wrong, forward), real("n d"), reference=torch.square, max_examples=12)
    assert [f.cause for f in report.findings if f.severity == "error"] == (["unwritten-elements"] if wrong else [])


@pytest.mark.parametrize("wrong", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_large_call_whose_pieces_are_right(wrong: bool) -> None:
    x = torch.rand((1 << 20) + 1024 + 7)
    report = gl.check(square(1024, wrong), x, probes=("poison",))
    assert [f.cause for f in report.findings] == (["unwritten-elements"] if wrong else [])


def test_dirty_memory_is_as_it_was_afterwards() -> None:
    before = torch.empty, torch.Tensor.new_empty, "new_empty" in vars(torch.Tensor)
    with dirty_memory():
        assert bool(torch.empty(3).isnan().all())
        assert bool(torch.ones(2).new_empty(3).isnan().all())
        assert torch.empty(3, dtype=torch.int64).shape == (3,)
    assert (torch.empty, torch.Tensor.new_empty, "new_empty" in vars(torch.Tensor)) == before
