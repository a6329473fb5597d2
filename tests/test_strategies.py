"""Strategies: what they draw fits the op, covers what is promised, and shrinks."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from gradcheck_lab.calls.case import Case
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops import add, linear, matmul, mse_loss, relu, softmax_cross_entropy
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec, integers, labels, mask, nonzero, one_hot, positive, probabilities, real
from gradcheck_lab.strategies import LAYOUTS, PROFILES, calls, rank1_trap, tensors
from tests.lanes import examples
from tests.sound import assert_fits

broadcast = Op(lambda a, b: a + b, name="broadcast", specs=(real("#n 3"), real("#n 3")))
kinds = Op(
    lambda *tensors: tensors[0],
    name="kinds",
    specs=(positive("n"), one_hot("n c"), integers("n", low=2, high=4), mask("n c")),
)


# the ops of the library: with the other tests of their calls
@pytest.mark.drawn
@pytest.mark.parametrize("op", [broadcast, kinds], ids=lambda op: op.name)
def test_drawn_call_fits_its_op(op: Op) -> None:
    @examples(30)
    @given(calls(op, dtypes=(torch.float64, torch.float16)))
    def fits(case: Case) -> None:
        assert_fits(op, case)

    fits()


def shapes(case: Case) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(value.shape) for value in case.inputs)


def column_against_vector(column: tuple[int, ...], vector: tuple[int, ...]) -> bool:
    return len(column) == 2 and len(vector) == 1 and column[1] == 1 and column[0] > 1 and vector[0] > 1


def transposed(value: torch.Tensor) -> bool:
    return not value.is_contiguous() and value.permute(*reversed(range(value.ndim))).is_contiguous()


REACHED: dict[str, tuple[Op, Callable[[Case], bool]]] = {
    "empty": (linear, lambda case: 0 in case.inputs[0].shape),
    "size-1": (linear, lambda case: 1 in case.inputs[1].shape),
    "odd-size": (linear, lambda case: 5 in case.inputs[1].shape),
    "no-batch": (linear, lambda case: case.inputs[0].ndim == 1),
    "three-leading-dimensions": (linear, lambda case: case.inputs[0].ndim == 4),
    "0-d": (relu, lambda case: case.inputs[0].ndim == 0),
    "scalar-against-more": (add, lambda case: shapes(case)[0] == () and case.inputs[1].ndim > 0),
    "column-against-rank-1": (add, lambda case: column_against_vector(*shapes(case))),
    "rank-1-against-column": (add, lambda case: column_against_vector(*shapes(case)[::-1])),
    "stretched-batch": (matmul, lambda case: shapes(case)[0][:-2] != shapes(case)[1][:-2] and min(map(len, shapes(case))) > 1),
    "one-to-broadcast": (broadcast, lambda case: shapes(case)[0][0] == 1 < shapes(case)[1][0]),
    "soft-targets": (softmax_cross_entropy, lambda case: case.inputs[1].is_floating_point()),
    "labels": (softmax_cross_entropy, lambda case: not case.inputs[1].is_floating_point()),
    "vectors": (mse_loss, lambda case: case.inputs[0].ndim == 1),
    "zeros": (relu, lambda case: 0 < case.inputs[0].count_nonzero() < case.inputs[0].numel()),
    "ties": (relu, lambda case: 1 < len(case.inputs[0].unique()) < case.inputs[0].numel() and bool(case.inputs[0].all())),
    "whole": (relu, lambda case: case.inputs[0].numel() > 3 and len(case.inputs[0].abs().unique()) == 2),
    "equal": (relu, lambda case: case.inputs[0].numel() > 1 and len(case.inputs[0].unique()) == 1),
    "offset": (relu, lambda case: case.inputs[0].storage_offset() == 1 and case.inputs[0].is_contiguous()),
    "expanded": (relu, lambda case: case.inputs[0].numel() > 1 and 0 in case.inputs[0].stride()),
    "one-class": (softmax_cross_entropy, lambda case: case.inputs[1].numel() > 2 and len(case.inputs[1].unique()) == 1),
    "large": (relu, lambda case: bool((case.inputs[0].abs() > 1e3).any())),
    "tiny": (relu, lambda case: bool(((case.inputs[0] != 0) & (case.inputs[0].abs() < 1e-6)).any())),
    "transposed": (relu, lambda case: transposed(case.inputs[0])),
    "sliced": (relu, lambda case: case.inputs[0].storage_offset() > 0),
    "sum": (mse_loss, lambda case: case.options["reduction"] == "sum"),
    "batchmean": (mse_loss, lambda case: case.options["reduction"] == "batchmean"),
    "none": (softmax_cross_entropy, lambda case: case.options["reduction"] == "none"),
}


@cache
def drawn(op: Op) -> list[Case]:
    cases: list[Case] = []

    @settings(max_examples=400, derandomize=True, database=None, phases=[Phase.generate])
    @given(calls(op))
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    return cases


@pytest.mark.parametrize("name", REACHED)
def test_kind_of_call_is_drawn(name: str) -> None:
    op, wanted = REACHED[name]
    assert any(wanted(case) for case in drawn(op))


@pytest.mark.parametrize("op", [linear, matmul, softmax_cross_entropy], ids=lambda op: op.name)
def test_something_can_be_compared_in_every_call(op: Op) -> None:
    for case in drawn(op):
        output = op(*case.inputs, **case.options)
        assert output.numel()
        assert any(value.numel() for value in case.inputs if value.is_floating_point())


def test_options_that_an_op_refuses_are_not_drawn() -> None:
    assert {case.options["reduction"] for case in drawn(softmax_cross_entropy)} == {"none", "mean", "sum"}


def test_drawn_call_is_labelled_and_seeded() -> None:
    assert {case.label for case in drawn(linear)} == {"drawn"}
    assert len({case.seed for case in drawn(linear)}) > 50


def test_failing_call_shrinks_to_a_small_ordinary_one() -> None:
    found = find(calls(linear), lambda case: case.inputs[0].numel() > 0, settings=settings(derandomize=True, database=None))
    assert found.inputs[0].numel() == 1
    assert all(value.is_contiguous() for value in found.inputs)
    assert found.seed == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)], ids=str)
def test_layout_keeps_the_values(layout: str, shape: tuple[int, ...]) -> None:
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(LAYOUTS[layout](value), value)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_profile_stays_within_the_dtype(profile: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(100, generator=generator).to(dtype)
    shaped = PROFILES[profile](value, generator)
    assert shaped.dtype == dtype
    assert bool(torch.isfinite(shaped * shaped).all())


KINDS: dict[str, tuple[Spec, Callable[[torch.Tensor], bool]]] = {
    "positive": (positive("n d"), lambda value: bool((value > 0).all())),
    "nonzero": (nonzero("n d"), lambda value: bool((value != 0).all())),
    "probabilities": (probabilities("n d"), lambda value: torch.allclose(value.sum(-1), torch.ones(value.shape[:-1]).double())),
    "one-hot": (one_hot("n d"), lambda value: bool((value.sum(-1) == 1).all()) and bool(((value == 0) | (value == 1)).all())),
    "integers": (integers("n d", low=-3, high=2), lambda value: bool(((value >= -3) & (value < 2)).all())),
    "mask": (mask("n d"), lambda value: value.dtype == torch.bool),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_drawn_value_is_of_its_kind(name: str) -> None:
    spec, holds = KINDS[name]

    @given(tensors(spec))
    def kept(value: torch.Tensor) -> None:
        assert value.ndim == 2
        assert 0 in value.shape or holds(value)

    kept()


@given(tensors("real('*b n')", labels("*b", classes="n"), "real('n 3')"))
def test_letters_are_one_size_in_all_tensors(drawn: tuple[torch.Tensor, ...]) -> None:
    x, index, table = drawn
    assert x.shape[:-1] == index.shape
    assert table.shape == (x.shape[-1], 3)
    assert not index.numel() or 0 <= int(index.min()) <= int(index.max()) < x.shape[-1]


def test_numbers_drawn_one_by_one_shrink_too() -> None:
    drawn = tensors(real("n"), elements=st.integers(-50, 50).map(float))
    found = find(drawn, lambda value: bool((value > 7).any()), settings=settings(database=None, derandomize=True))
    assert found.tolist() == [8.0]


def mean_square(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((prediction - target) ** 2).mean()


@given(rank1_trap())
def test_rank1_trap_is_a_pair_of_as_many_elements_that_broadcasts(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    prediction, target = pair
    assert sorted((prediction.ndim, target.ndim)) == [1, 2]
    assert prediction.numel() == target.numel() > 1
    assert (prediction - target).numel() == prediction.numel() ** 2


def test_rank1_trap_catches_a_mean_square_that_broadcasts() -> None:
    @settings(database=None)
    @given(rank1_trap())
    def one_term_per_element(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        assert torch.allclose(mean_square(*pair), mean_square(pair[0].reshape(-1), pair[1].reshape(-1)))

    with pytest.raises(AssertionError):
        one_term_per_element()


@given(rank1_trap())
def test_mse_loss_of_the_library_refuses_the_rank1_trap(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(InvalidArgument):
        mse_loss(*pair)
