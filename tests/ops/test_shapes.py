"""Shape ops where random calls do not go: any number of tensors, parts that were not used, repeated indices; and mistakes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import labels, mask, real
from tests.lanes import examples
from tests.ops.held import fuzzed_until_wrong
from tests.ops.torch_ops import TORCH

X = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
ROW = torch.arange(3.0, dtype=torch.float64)

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_as_torch(op: Op, *inputs: Tensor, **options: Any) -> None:
    """Hold forward and backward of a call against torch's."""
    leaves = [v.clone().requires_grad_() if v.is_floating_point() else v for v in inputs]
    expected = TORCH[op](*leaves, **options)
    output = op(*inputs, **options)
    torch.testing.assert_close(output, expected.detach())
    upstream = normal(*output.shape, seed=1)
    wanted = iter(torch.autograd.grad(expected, [v for v in leaves if v.requires_grad], upstream))
    for value, grad in zip(leaves, op.backward(upstream, output, *inputs, **options), strict=True):
        if value.requires_grad:
            torch.testing.assert_close(grad, next(wanted))
        else:
            assert grad is None


@examples(100)
@given(shape=shapes, data=st.data(), count=st.integers(1, 6))
def test_concatenate_takes_any_number_of_tensors_along_any_dimension(
    shape: tuple[int, ...], data: st.DataObject, count: int
) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    tensors = []
    for seed, size in enumerate(sizes):
        one = list(shape)
        one[dim] = size
        tensors.append(normal(*one, seed=seed))
    assert_as_torch(ops.concatenate, *tensors, dim=dim)


@examples(60)
@given(shape=shapes, data=st.data(), count=st.integers(1, 6))
def test_stack_takes_any_number_of_tensors_along_any_dimension(shape: tuple[int, ...], data: st.DataObject, count: int) -> None:
    dim = data.draw(st.integers(-len(shape) - 1, len(shape)))
    assert_as_torch(ops.stack, *(normal(*shape, seed=seed) for seed in range(count)), dim=dim)


@examples(100)
@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=5), data=st.data(), whole=st.booleans())
def test_split_takes_any_sizes_and_unused_parts_send_zeros(sizes: list[int], data: st.DataObject, whole: bool) -> None:
    split_size: Any = max(1, sizes[0]) if whole else data.draw(st.sampled_from([tuple(sizes), list(sizes)]))
    x = normal(2, sum(sizes), 2)
    parts = ops.split(x, split_size=split_size, dim=1)
    used = data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    upstream = [normal(*part.shape, seed=seed) for seed, part in enumerate(parts)]
    some = tuple(g if use else None for g, use in zip(upstream, used, strict=True))
    (found,) = ops.split.backward(some, parts, x, split_size=split_size, dim=1)
    zeroed = tuple(g if use else torch.zeros_like(g) for g, use in zip(upstream, used, strict=True))
    leaf = x.clone().requires_grad_()
    torch.autograd.backward(torch.split(leaf, split_size, 1), zeroed)
    assert leaf.grad is not None
    torch.testing.assert_close(found, leaf.grad)
    (again,) = ops.split.backward(zeroed, parts, x, split_size=split_size, dim=1)
    torch.testing.assert_close(again, leaf.grad)


def test_split_in_a_program_may_leave_parts_unused() -> None:
    def program(x: Any) -> Any:
        first, _, last = ops.split(x, split_size=1, dim=1)
        return ops.mul(first, last)

    report = gl.check(program, normal(4, 3))
    assert report.verdict == "pass", report
    x = Variable(ROW)
    ops.split(x, split_size=2)[1].backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("dim", [0, -1])
def test_index_select_adds_up_repeated_slices(dim: int) -> None:
    index = torch.tensor([1, 1, 0, 1])
    (grad, _) = ops.index_select.backward(torch.ones(4, 4), torch.empty(0), torch.zeros(4, 4), index, dim=dim)
    assert (grad if dim == 0 else grad.T).tolist() == [[1.0] * 4, [3.0] * 4, [0.0] * 4, [0.0] * 4]
    assert_as_torch(ops.index_select, normal(4, 4), index, dim=dim)
    assert_as_torch(ops.index_select, normal(2, 5, 3), index, dim=1)


@examples(60)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), data=st.data(), seed=st.integers(0, 99))
def test_gather_adds_up_repeated_places_of_a_smaller_index(shape: list[int], data: st.DataObject, seed: int) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    smaller = [data.draw(st.integers(0, size)) for size in shape]
    smaller[dim] = data.draw(st.integers(0, 6))
    index = torch.randint(0, shape[dim], smaller, generator=torch.Generator().manual_seed(seed))
    assert_as_torch(ops.gather, normal(*shape), index, dim=dim)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8], ids=str)
def test_indices_may_be_of_any_integer_dtype(dtype: torch.dtype) -> None:
    index = torch.tensor([2, 0, 2], dtype=dtype)
    assert gl.check(ops.index_select, normal(3, 2), index, probes=()).verdict == "pass"
    assert gl.check(ops.gather, ROW, index, probes=()).verdict == "pass"


def test_filling_with_minus_infinity_sends_zeros_to_what_was_filled() -> None:
    hidden = torch.tensor([False, True, False])
    filled = ops.masked_fill(X, hidden, value=-math.inf)
    assert filled[:, 1].tolist() == [-math.inf] * 2
    grad, nothing = ops.masked_fill.backward(torch.full_like(X, math.inf), filled, X, hidden, value=-math.inf)
    assert nothing is None
    assert grad.tolist() == [[math.inf, 0.0, math.inf]] * 2


@examples(60)
@given(padding=st.lists(st.integers(-2, 3), min_size=6, max_size=6), pairs=st.integers(0, 3))
def test_padding_may_take_away_and_add(padding: list[int], pairs: int) -> None:
    assert_as_torch(ops.pad, normal(4, 5, 4), padding=tuple(padding[: 2 * pairs]), value=2.0)


@examples(60)
@given(order=st.permutations(range(4)), signs=st.lists(st.booleans(), min_size=4, max_size=4))
def test_permute_takes_any_order(order: list[int], signs: list[bool]) -> None:
    dims = tuple(axis - 4 if negative else axis for axis, negative in zip(order, signs, strict=True))
    assert_as_torch(ops.permute, normal(2, 3, 4, 5), dims=dims)


@pytest.mark.parametrize(
    ("op", "shape", "options"),
    [
        (ops.reshape, (2, 3, 4), {"shape": (4, -1, 3)}),
        (ops.reshape, (0, 3), {"shape": (3, 0, 2)}),
        (ops.reshape, (), {"shape": ()}),
        (ops.expand, (), {"shape": (2, 3)}),
        (ops.expand, (2, 1, 3), {"shape": (4, 2, 5, -1)}),
        (ops.expand, (1, 3), {"shape": (0, 3)}),
        (ops.squeeze, (1, 3, 1), {"dim": (0, 1)}),
        (ops.squeeze, (1, 1), {"dim": None}),
        (ops.unsqueeze, (), {"dim": -1}),
        (ops.transpose, (2, 3, 4, 5), {"dim0": 1, "dim1": -1}),
        (ops.flip, (2, 3, 4), {"dims": (0, 2)}),
        (ops.roll, (2, 3, 4), {"shifts": (1, 2, -4), "dims": (1, -1, 1)}),
        (ops.roll, (2, 3), {"shifts": 4, "dims": None}),
        (ops.tril, (2, 3, 5), {"diagonal": 2}),
    ],
    ids=str,
)
def test_shape_op_is_torchs(op: Op, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    assert_as_torch(op, normal(*shape), **options)


def overwritten(g: Tensor, y: Tensor, x: Tensor, index: Tensor) -> Any:
    return torch.zeros_like(x).index_copy(0, index, g), None


def swapped(g: Tensor, y: Tensor, *tensors: Tensor) -> Any:
    return g[len(tensors[1]) :], g[: len(tensors[1])]


MISTAKES: dict[str, Op] = {
    "repeated-slices-overwritten": Op(
        lambda x, index: x.index_select(0, index), overwritten, specs=(real("n d"), labels("k", classes="n"))
    ),
    "expanded-and-not-summed": Op(lambda x: x.expand(2, -1), lambda g, y, x: (g,), specs=(real("n"),)),
    "rolled-the-same-way": Op(lambda x: x.roll(1, 0), lambda g, y, x: (g.roll(1, 0),), specs=(real("n"),)),
    "permuted-the-same-way": Op(lambda x: x.permute(2, 0, 1), lambda g, y, x: (g.permute(2, 0, 1),), specs=(real("n n n"),)),
    "reshaped-for-transposed": Op(lambda x: x.transpose(0, 1), lambda g, y, x: (g.reshape(x.shape),), specs=(real("m n"),)),
    "joined-in-the-other-order": Op(lambda a, b: torch.cat([a, b]), swapped, specs=(real("n"), real("n"))),
    "gradient-to-what-was-filled": Op(
        lambda x, hidden: x.masked_fill(hidden, 0), lambda g, y, x, hidden: (g, None), specs=(real("*s"), mask("*s"))
    ),
    "padding-on-the-other-side": Op(lambda x: F.pad(x, (1, 2)), lambda g, y, x: (F.pad(g, (-2, -1)),), specs=(real("n"),)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found(name: str) -> None:
    report = fuzzed_until_wrong(MISTAKES[name], 80)
    assert report.verdict == "fail", report
    assert "raises" not in {finding.cause for finding in report.findings}, report


BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "reshape-to-another-size": (
        lambda: ops.reshape(X, shape=(4, -1)),
        "reshape: x has shape (2, 3), of 6 elements, which do not fill (4, -1); pass sizes whose product is 6, "
        "at most one of them -1",
    ),
    "reshape-with-two-unknowns": (
        lambda: ops.reshape(X, shape=(-1, -1)),
        "reshape: x has shape (2, 3), of 6 elements, which do not fill (-1, -1); pass sizes whose product is 6, "
        "at most one of them -1",
    ),
    "transpose-of-a-dimension-that-is-not-there": (
        lambda: ops.transpose(X, dim0=2),
        "transpose: dim0 2 is not a dimension of shape (2, 3); pass one from -2 to 1",
    ),
    "permute-of-some-dimensions": (
        lambda: ops.permute(X, dims=(0,)),
        "permute: dims (0,) is no order of the 2 dimensions of shape (2, 3); name each once",
    ),
    "expand-to-another-size": (
        lambda: ops.expand(X, shape=(4, 3)),
        "expand: x has shape (2, 3), which does not broadcast to (4, 3); repeat dimensions of size 1 or new leading ones, "
        "and pass -1 for a size that is kept",
    ),
    "expand-with-an-unknown-leading-size": (
        lambda: ops.expand(X, shape=(-1, 2, 3)),
        "expand: x has shape (2, 3), which does not broadcast to (-1, 2, 3); repeat dimensions of size 1 or new leading ones, "
        "and pass -1 for a size that is kept",
    ),
    "squeeze-twice": (
        lambda: ops.squeeze(X, dim=(0, 0)),
        "squeeze: dim (0, 0) names a dimension of shape (2, 3) twice; name it once",
    ),
    "unsqueeze-beyond-the-end": (
        lambda: ops.unsqueeze(X, dim=3),
        "unsqueeze: dim 3 is no place among the dimensions of shape (2, 3); pass one from -3 to 2",
    ),
    "concatenate-of-nothing": (
        lambda: ops.concatenate(),
        "concatenate: it takes 2 inputs and 0 were given",
    ),
    "concatenate-of-other-sizes": (
        lambda: ops.concatenate(X, X, X.T),
        "concatenate: tensor 0 has shape (2, 3) and tensor 2 (3, 2); all sizes but those of dim 0 have to be the same, "
        "of at least one dimension",
    ),
    "concatenate-of-a-list": (
        lambda: ops.concatenate([X, X]),
        "concatenate: input 'tensors[0]' is a list; pass a tensor that fits real('n *b')",
    ),
    "concatenate-of-labels": (
        lambda: ops.concatenate(X, X.long(), X, X),
        "concatenate: input 'tensors[1]' is int64 and real('n *b') wants a gradient; pass tensors[1].double()",
    ),
    "stack-of-other-shapes": (
        lambda: ops.stack(X, ROW),
        "stack: tensor 0 has shape (2, 3) and tensor 1 (3,); pass tensors of one shape, or use concatenate",
    ),
    "stack-beyond-the-end": (
        lambda: ops.stack(X, X, dim=3),
        "stack: dim 3 is no place among the dimensions of shape (2, 3); pass one from -3 to 2",
    ),
    "split-in-sizes-that-do-not-add-up": (
        lambda: ops.split(X, split_size=(1, 1), dim=1),
        "split: the sizes (1, 1) do not add up to 3, the size of dim 1 of shape (2, 3)",
    ),
    "split-in-nothing": (
        lambda: ops.split(X, split_size=0),
        "split: split_size is 0; pass at least 1, or a list of sizes",
    ),
    "split-of-a-number": (
        lambda: ops.split(torch.tensor(1.0)),
        "split: x has no dimension to split; pass x.reshape(1)",
    ),
    "flip-twice": (
        lambda: ops.flip(X, dims=(1, -1)),
        "flip: dims (1, -1) names a dimension of shape (2, 3) twice; name it once",
    ),
    "roll-with-too-few-shifts": (
        lambda: ops.roll(X, shifts=1, dims=(0, 1)),
        "roll: 1 shifts were given for 2 dims; pass one shift per dimension",
    ),
    "roll-along-a-dimension-that-is-not-there": (
        lambda: ops.roll(X, dims=2),
        "roll: dims (2,) are not dimensions of shape (2, 3); name those that there are",
    ),
    "pad-with-one-number": (
        lambda: ops.pad(X, padding=(1,)),
        "pad: padding (1,) has 1 numbers and shape (2, 3) 2 dimensions; pass two for each, from the last one",
    ),
    "pad-that-takes-away-too-much": (
        lambda: ops.pad(X, padding=(0, 0, -1, -2)),
        "pad: padding (0, 0, -1, -2) takes away more than shape (2, 3) has; pass larger numbers",
    ),
    "gather-with-an-index-of-another-rank": (
        lambda: ops.gather(X, torch.tensor([0])),
        "gather: index has shape (1,) and x (2, 3); give index as many dimensions, none larger but dim -1",
    ),
    "gather-beyond-the-end": (
        lambda: ops.gather(X, torch.tensor([[3]])),
        "gather: indices range from 3 to 3 and dim -1 of shape (2, 3) has places 0 to 2; pass index.clamp(0, 2) or count "
        "from 0",
    ),
    "index-select-by-a-matrix": (
        lambda: ops.index_select(X, torch.tensor([[0]])),
        "index_select: index has shape (1, 1); pass a vector, index.reshape(-1)",
    ),
    "index-select-from-the-end": (
        lambda: ops.index_select(X, torch.tensor([-1])),
        "index_select: indices range from -1 to -1 and dim 0 of shape (2, 3) has places 0 to 1; pass index.clamp(0, 1) or "
        "count from 0",
    ),
    "masked-fill-with-numbers": (
        lambda: ops.masked_fill(X, X),
        "masked_fill: input 'mask' is float64 and mask('*#s') wants booleans; pass mask.bool()",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_misuse_is_refused_with_its_whole_message(name: str) -> None:
    call, message = BAD_CALLS[name]
    with pytest.raises(gl.InvalidArgument) as error:
        call()
    assert str(error.value) == message
