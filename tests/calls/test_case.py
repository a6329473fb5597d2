"""Cases: the numbers that are drawn, the copies that are handed out, and the generators that are put back."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab import specs
from gradcheck_lab.calls.case import copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.calls.drawing import draw_inputs, ordinary_call
from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec, real

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(0, 6), max_size=3).map(tuple)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def draw(spec: Spec, seed: int, **sizes: int) -> torch.Tensor:
    return draw_inputs((spec, specs.real("c")), seed, {name: (size,) for name, size in sizes.items()})[0]


@every_dtype
@given(shape=shapes, seed=seeds)
def test_upstream_is_exact_and_never_zero_in_any_dtype(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> None:
    like = torch.zeros(shape, dtype=dtype)
    drawn = random_like(like, torch.Generator().manual_seed(seed))
    wide = random_like(like.double(), torch.Generator().manual_seed(seed))
    assert (drawn.dtype, drawn.shape) == (dtype, like.shape)
    assert torch.equal(drawn.double(), wide)
    assert bool(((drawn.abs() >= 0.25) & (drawn.abs() <= 2)).all())


def test_upstream_differs_between_elements_and_seeds() -> None:
    like = torch.zeros(50)
    first, second = (random_like(like, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert len(first.unique()) > 20
    assert bool((first > 0).any())
    assert bool((first < 0).any())
    assert not torch.equal(first, second)


def test_large_upstream_repeats_under_other_factors() -> None:
    drawn = random_like(torch.zeros(1000, 1000), torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 1000)
    assert bool((drawn != 0).all())
    rows = {tuple(row[:20].tolist()) for row in drawn}
    assert len(rows) > 900


def test_complex_upstream_has_both_parts() -> None:
    drawn = random_like(torch.zeros(4, dtype=torch.complex64), torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.complex64
    assert bool((drawn.real != 0).all())
    assert bool((drawn.imag != 0).all())


@given(n=st.integers(0, 6), c=st.integers(1, 6), seed=seeds)
def test_labels_are_classes(n: int, c: int, seed: int) -> None:
    labels = draw(specs.labels("n", classes="c"), seed, n=n, c=c)
    assert (labels.dtype, labels.shape) == (torch.int64, (n,))
    assert bool(((labels >= 0) & (labels < c)).all())


@given(n=st.integers(0, 6), low=st.integers(-3, 3), width=st.integers(1, 3), seed=seeds)
def test_integers_are_in_their_range(n: int, low: int, width: int, seed: int) -> None:
    found = draw(specs.integers("n", low=low, high=low + width), seed, n=n)
    assert bool(((found >= low) & (found < low + width)).all())


@given(n=st.integers(0, 6), c=st.integers(1, 6), seed=seeds)
def test_probabilities_sum_to_one(n: int, c: int, seed: int) -> None:
    found = draw(specs.probabilities("n c"), seed, n=n, c=c)
    assert bool((found > 0).all())
    torch.testing.assert_close(found.sum(-1), torch.ones(n).double())


@given(n=st.integers(0, 6), c=st.integers(1, 6), seed=seeds)
def test_one_hot_rows_have_a_single_one(n: int, c: int, seed: int) -> None:
    found = draw(specs.one_hot("n c"), seed, n=n, c=c)
    assert found.sort(-1).values.tolist() == [[0.0] * (c - 1) + [1.0]] * n


@given(n=st.integers(0, 6), seed=seeds)
def test_positive_numbers_are_above_zero(n: int, seed: int) -> None:
    assert bool((draw(specs.positive("n"), seed, n=n) > 0).all())


def test_mask_is_boolean() -> None:
    assert draw(specs.mask("n"), 0, n=3).dtype == torch.bool


def test_letters_without_a_size_get_different_ones() -> None:
    x, w, b = draw_inputs((specs.real("*b d_in"), specs.real("d_out d_in"), specs.real("d_out")), 0)
    assert x.ndim == 2
    assert len({*x.shape, *w.shape}) == 3
    assert w.shape == (b.shape[0], x.shape[1])


@given(seed=seeds)
def test_same_seed_draws_the_same_inputs(seed: int) -> None:
    signature = (specs.real("n d"), specs.labels("n", classes="d"))
    for a, b in zip(draw_inputs(signature, seed), draw_inputs(signature, seed), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(12.0).reshape(3, 4),
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(24.0).reshape(4, 6)[:, ::2],
        torch.arange(4.0).expand(3, 4),
        torch.arange(3.0).unsqueeze(1).expand(3, 4),
        torch.tensor(2.0),
        torch.zeros(0, 3),
    ],
    ids=["contiguous", "transposed", "sliced", "expanded", "expanded-columns", "0-d", "empty"],
)
def test_copy_keeps_values_and_broadcast_strides_apart_from_the_original(value: torch.Tensor) -> None:
    value = value.requires_grad_()
    copy = copy_tensor(value)
    assert torch.equal(copy, value)
    assert not copy.requires_grad
    assert [stride == 0 for stride in copy.stride()] == [stride == 0 for stride in value.stride()]
    assert not copy.numel() or copy.untyped_storage().data_ptr() != value.untyped_storage().data_ptr()


@given(axes=st.permutations(range(3)))
def test_copy_of_a_permuted_tensor_has_its_strides(axes: list[int]) -> None:
    value = torch.arange(24.0).reshape(2, 3, 4).permute(axes)
    assert copy_tensor(value).stride() == value.stride()


def test_copies_leave_other_values_as_they_are() -> None:
    marker = object()
    copied, same = copy_inputs((torch.ones(2), marker))
    assert copied.tolist() == [1.0, 1.0]
    assert same is marker


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.ones(1), True),
        (torch.ones(1, dtype=torch.float16), True),
        (torch.ones(1, dtype=torch.complex64), True),
        (torch.ones(1, dtype=torch.int64), False),
        (torch.ones(1, dtype=torch.bool), False),
        (1.0, False),
        (None, False),
    ],
)
def test_floating_and_complex_tensors_are_differentiable(value: object, expected: bool) -> None:
    assert is_differentiable(value) is expected


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), float(np.random.rand())


def test_generators_are_seeded_within_and_put_back_after() -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = draws()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    with preserved_randomness(7):
        first = draws()
    assert draws() == expected
    with preserved_randomness(7):
        assert draws() == first


def test_generators_are_put_back_after_an_error() -> None:
    state = torch.get_rng_state()
    with suppress(KeyError), preserved_randomness(7):
        torch.rand(1)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state)


def fits_inside(image: torch.Tensor, kernel: torch.Tensor, *, flipped: bool = False) -> torch.Tensor:
    return image


inside = Op(fits_inside, specs=(real("h w"), real("k 2k")), choices={"flipped": (True,)})


@inside.validator
def refuse_large_kernels(image: torch.Tensor, kernel: torch.Tensor, *, flipped: bool = False) -> None:
    if any(k >= n for n, k in zip(image.shape, kernel.shape, strict=True)):
        raise InvalidArgument("the kernel is larger than the image")
    if image.shape[0] == image.shape[1] and not flipped:
        raise InvalidArgument("a square has to be flipped")


@given(seed=st.integers(0, 99))
def test_ordinary_call_is_one_that_the_op_takes(seed: int) -> None:
    case = ordinary_call(inside, inside.specs, seed)
    assert not inside.takes(draw_inputs(inside.specs, seed), {})
    assert inside.takes(case.inputs, dict(case.options))
