"""Products where specs draw little: images to affine, vectors to matmul, equations of einsum; misuse, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op
from tests.lanes import examples
from tests.ops.held import assert_agrees, drawn, mistaken, passes
from tests.ops.torch_ops import TORCH
from tests.sound import DTYPES

sizes = st.integers(0, 4)


@examples(40)
@given(n=sizes, image=st.tuples(*[st.integers(0, 3)] * 3), d_out=sizes, dtype=st.sampled_from(DTYPES))
def test_affine_flattens_images(n: int, image: tuple[int, ...], d_out: int, dtype: torch.dtype) -> None:
    d_in = torch.Size(image).numel()
    inputs = drawn(n, *image, dtype=dtype), drawn(d_in, d_out, seed=1, dtype=dtype), drawn(d_out, seed=2, dtype=dtype)
    if all(value.numel() for value in inputs):
        passes(ops.affine, *inputs)
    assert ops.affine.backward(ops.affine(*inputs), None, *inputs)[0].shape == (n, *image)


@examples(60)
@given(
    batch=st.lists(st.integers(0, 3), max_size=2),
    ranks=st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2), (2, 3), (3, 2), (3, 3)]),
    m=sizes,
    k=sizes,
    n=sizes,
)
def test_matmul_takes_every_pair_of_ranks(batch: list[int], ranks: tuple[int, int], m: int, k: int, n: int) -> None:
    left = {1: (k,), 2: (m, k), 3: (*batch, m, k)}[ranks[0]]
    right = {1: (k,), 2: (k, n), 3: (*batch, k, n)}[ranks[1]]
    assert_agrees(ops.matmul, torch.matmul, drawn(*left), drawn(*right, seed=1))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 2, 5))),
        ("i,j->ij", ((3,), (4,))),
        ("i,i->", ((3,), (3,))),
        ("i,->i", ((3,), ())),
        ("ijk->", ((2, 3, 4),)),
        ("ijk->kj", ((2, 3, 4),)),
        ("ij,k->k", ((2, 3), (4,))),
        ("ab , bc -> ac", ((2, 0), (0, 3))),
    ],
)
def test_einsum_takes_any_explicit_equation(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    operands = tuple(drawn(*shape, seed=seed) for seed, shape in enumerate(shapes))
    assert_agrees(ops.einsum, lambda *values, equation: torch.einsum(equation, *values), *operands, equation=equation)
    if all(operand.numel() for operand in operands):
        passes(ops.einsum, *operands, equation=equation)


def test_linear_without_bias_has_two_gradients() -> None:
    x, weight = drawn(4, 3), drawn(2, 3, seed=1)
    assert_agrees(ops.linear, TORCH[ops.linear], x, weight)
    assert len(ops.linear.backward(drawn(4, 2), None, x, weight)) == 2


def of_affine(g: Any, y: Any, x: Any, weight: Any, bias: Any) -> Any:
    return g @ weight.T, x.flatten(1).T @ g, g.sum(0)


def of_matmul(g: Any, y: Any, a: Any, b: Any) -> Any:
    return g @ b.mH, a.mH @ g


def of_einsum(g: Any, y: Any, a: Any, b: Any = None, *, equation: str = "ij,jk->ik") -> Any:
    return ops.einsum.backward(g, y, a, b) if b is not None else ops.einsum.backward(g, y, a, equation=equation)


@pytest.mark.parametrize(
    ("op", "rule", "cause"),
    [
        (ops.matmul, of_matmul, "missing-broadcast-sum"),
        (ops.einsum, of_einsum, ""),
    ],
    ids=["batch-not-summed", "equation-ignored"],
)
def test_mistake_in_a_product_is_found(op: Op, rule: Callable[..., Any], cause: str) -> None:
    report = gl.fuzz(mistaken(op, rule), max_examples=200)
    assert report.verdict == "fail"
    assert not cause or cause in {finding.cause for finding in report.findings}, report


X = drawn(2, 3)

ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "images-of-another-size": (
        lambda: ops.affine(drawn(2, 1, 2, 2), drawn(3, 5), drawn(5)),
        "affine: x has shape (2, 1, 2, 2), rows of 4, and weight (3, 5) takes rows of 3; pass a weight of shape (4, d_out)",
    ),
    "affine-of-a-vector": (
        lambda: ops.affine(drawn(3), drawn(3, 5), drawn(5)),
        "affine: 'x' has shape (3,) with 1 dimensions; its spec real('n d_in') needs 2",
    ),
    "matmul-of-a-scalar": (
        lambda: ops.matmul(drawn(), X),
        "matmul: 'a' has shape (), no dimension to sum over; multiply by a scalar with ops.mul",
    ),
    "bias-by-keyword": (
        lambda: ops.linear(X, drawn(4, 3), bias=drawn(4)),
        "linear has no option 'bias'; it accepts none",
    ),
    "equation-without-an-arrow": (
        lambda: ops.einsum(X, drawn(3, 2), equation="ij,jk"),
        "einsum: the equation 'ij,jk' cannot be read; write every index of every operand once, "
        "and the output's after an arrow, such as 'bij,bjk->bik'",
    ),
    "diagonal": (
        lambda: ops.einsum(drawn(3, 3), equation="ii->i"),
        "einsum: the equation 'ii->i' cannot be read; write every index of every operand once, "
        "and the output's after an arrow, such as 'bij,bjk->bik'",
    ),
    "output-of-no-operand": (
        lambda: ops.einsum(X, equation="ij->ik"),
        "einsum: the equation 'ij->ik' cannot be read; write every index of every operand once, "
        "and the output's after an arrow, such as 'bij,bjk->bik'",
    ),
    "too-few-letters": (
        lambda: ops.einsum(drawn(2, 3, 4), drawn(3, 2), equation="ij,jk->ik"),
        "einsum: the equation 'ij,jk->ik' does not fit shapes (2, 3, 4) and (3, 2); write one letter for each dimension",
    ),
    "sizes-that-differ": (
        lambda: ops.einsum(X, X, equation="ij,jk->ik"),
        "einsum: 'j' of the equation 'ij,jk->ik' is 3 and 2; give both operands the same size there, or two letters",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_misuse_of_a_product_says_what_to_do(row: str) -> None:
    call, message = ROWS[row]
    with pytest.raises(InvalidArgument) as error:
        call()
    assert str(error.value) == message


def test_gradient_of_flattened_images_is_found() -> None:
    inputs = drawn(2, 3, 1, 4), drawn(12, 5, seed=1), drawn(5, seed=2)
    passes(ops.affine, *inputs)
    report = gl.check(mistaken(ops.affine, of_affine), *inputs, probes=())
    assert [(finding.gradient, finding.cause) for finding in report.findings] == [("x", "wrong-shape")], report
