"""The error budget: what passes, what fails, that the printed formula decides, and how much memory it takes."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_lab.comparison import budget as tolerance
from gradcheck_lab.comparison.blocks import blocks
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.budget import REFERENCE_ERRORS
from tests.lanes import examples

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 6), max_size=4).map(tuple)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def random(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Numbers between 1 and 2 of either sign, so that none is small beside its neighbours."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(shape, generator=generator, dtype=torch.float64) + 1
    return size * (torch.randint(0, 2, shape, generator=generator) * 2 - 1)


@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.float64, 53), (torch.float32, 24), (torch.bfloat16, 8), (torch.float16, 11)]
)
def test_unit_roundoff_is_half_of_the_spacing_at_one(dtype: torch.dtype, bits: int) -> None:
    assert unit_roundoff(dtype) == 2.0**-bits


@every_dtype
@examples(50, 2000)
@given(shape=shapes, seed=seeds)
def test_rounded_truth_passes(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> None:
    truth = random(shape, seed)
    found = judge(truth.to(dtype), truth, dtype)
    assert found.passed
    assert found.elements == truth.numel()
    assert found.wrong_elements == 0
    assert found.budget_used <= 1


@every_dtype
@examples(50, 2000)
@given(shape=shapes, seed=seeds, data=st.data())
def test_error_in_one_element_is_found_there(
    dtype: torch.dtype, shape: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    truth = random(shape, seed)
    position = data.draw(st.integers(0, truth.numel() - 1))
    actual = truth.to(dtype, copy=True)
    actual.view(-1)[position] *= 1.5
    found = judge(actual, truth, dtype)
    assert not found.passed
    assert found.rule == "element"
    assert found.wrong_elements == 1
    assert found.worst_index is not None
    assert int(torch.arange(truth.numel()).reshape(shape)[found.worst_index]) == position
    assert found.max_rel_error == pytest.approx(0.5, rel=0.05)


@every_dtype
@examples(50, 2000)
@given(shape=shapes, seed=seeds, data=st.data(), factor=st.sampled_from([-1.2, 1.2]))
def test_sensitivity_is_what_would_have_been_caught(
    dtype: torch.dtype, shape: tuple[int, ...], seed: int, data: st.DataObject, factor: float
) -> None:
    truth = random(shape, seed)
    found = judge(truth.clone(), truth, dtype)
    assert found.sensitivity is not None
    position = data.draw(st.integers(0, truth.numel() - 1))
    wrong = truth.clone()
    wrong.view(-1)[position] += factor * found.sensitivity * 2  # no element or rms of these numbers is above 2
    assert not judge(wrong, truth, dtype).passed


@examples(200)
@given(shape=shapes, seed=seeds, size=st.floats(0.0, 8.0), power=st.integers(-200, 200))
def test_budget_has_no_scale_of_its_own(shape: tuple[int, ...], seed: int, size: float, power: int) -> None:
    truth = random(shape, seed)
    actual = truth * (1 + size * unit_roundoff(torch.float64) * random(shape, seed + 1))
    scale = 2.0**power
    plain, scaled = judge(actual, truth, torch.float64), judge(actual * scale, truth * scale, torch.float64)
    assert (plain.passed, plain.rule, plain.wrong_elements) == (scaled.passed, scaled.rule, scaled.wrong_elements)
    assert scaled.budget_used == pytest.approx(plain.budget_used)
    assert scaled.allowed == pytest.approx(plain.allowed * scale)


@every_dtype
@pytest.mark.parametrize("count", [1, 10, 100_000])
def test_zero_gradient_fails_at_any_size(dtype: torch.dtype, count: int) -> None:
    truth = 1e-3 * random((count,), 0)
    found = judge(torch.zeros(count, dtype=dtype), truth, dtype)
    assert not found.passed
    assert found.wrong_elements == count


def test_tiny_gradient_is_judged_as_strictly_as_a_large_one() -> None:
    truth = 1e-200 * random((4, 3), 0)
    assert judge(truth.clone(), truth, torch.float64).passed
    assert not judge(truth * (1 + 1e-12), truth, torch.float64).passed


@examples(50, 2000)
@given(shape=st.lists(st.integers(2, 6), min_size=2, max_size=3).map(tuple), seed=seeds)
def test_row_of_small_numbers_is_not_hidden_by_a_row_of_large_ones(shape: tuple[int, ...], seed: int) -> None:
    truth = random(shape, seed)
    truth[0] *= 1e8
    actual = truth.clone()
    actual[1] *= 1 + 1e-12
    assert not judge(actual, truth, torch.float64).passed


@examples(50, 2000)
@given(shape=shapes, seed=seeds)
def test_error_within_three_times_a_references_passes_and_beyond_it_fails(shape: tuple[int, ...], seed: int) -> None:
    truth = random(shape, seed)
    unit = random(shape, seed + 1)
    reference = truth + 1e-6 * unit / unit.abs()
    within, beyond = truth.clone(), truth.clone()
    within.view(-1)[0] += 0.99 * REFERENCE_ERRORS.value * 1e-6
    beyond.view(-1)[0] += 1.01 * REFERENCE_ERRORS.value * 1e-6
    assert judge(within, truth, torch.float64, [reference]).passed
    found = judge(beyond, truth, torch.float64, [reference])
    assert not found.passed
    assert found.allowed == pytest.approx(REFERENCE_ERRORS.value * 1e-6)
    assert found.budget_used == pytest.approx(1.01)


@examples(50, 2000)
@given(shape=shapes, seed=seeds, size=st.floats(1.0, 1e6))
def test_printed_allowance_is_what_decides(shape: tuple[int, ...], seed: int, size: float) -> None:
    truth = random(shape, seed)
    actual = truth + size * unit_roundoff(torch.float32) * random(shape, seed + 1)
    found = judge(actual, truth, torch.float32)
    if found.rule == "element":
        assert found.worst_index is not None
        error = abs(float(actual[found.worst_index] - truth[found.worst_index]))
        assert found.budget_used == pytest.approx(error / found.allowed)
        assert found.passed == (error <= found.allowed)
    assert found.max_abs_error == pytest.approx(float((actual - truth).abs().max()))


def test_common_factor_is_caught_where_no_element_is_wrong() -> None:
    truth = random((100, 100), 0)
    actual = truth * (1 + 5 * unit_roundoff(torch.float32))
    found = judge(actual, truth, torch.float32)
    assert not found.passed
    assert found.rule == "scale"
    assert found.wrong_elements == 0


def test_error_spread_over_a_slice_is_caught_where_no_element_is_wrong() -> None:
    u = unit_roundoff(torch.float32)
    truth = random((1000, 4), 0)
    reference = truth.clone()
    reference[0] += 100 * u  # one bad row in a thousand: the elements of a column may err, a column as a whole may not
    actual = truth + 90 * u * random((1000, 4), 1).sign()
    actual[:500] = truth[:500]
    found = judge(actual, truth, torch.float32, [reference])
    assert not found.passed


@every_dtype
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_a_number_never_equals_a_number(dtype: torch.dtype, value: float) -> None:
    truth = random((3, 4), 0)
    actual = truth.to(dtype, copy=True)
    actual[1, 2] = value
    found = judge(actual, truth, dtype)
    assert not found.passed
    assert found.rule == "finite"
    assert found.worst_index == (1, 2)
    assert found.wrong_elements == 1


def test_nothing_is_judged_where_the_truth_is_not_finite() -> None:
    truth = random((3, 4), 0)
    truth[1, 2], truth[0, 0] = float("nan"), float("inf")
    actual = truth.clone()
    actual[1, 2] = 5.0
    found = judge(actual, truth, torch.float64)
    assert found.passed
    assert found.unjudged == 2
    actual[2, 3] *= 2
    assert judge(actual, truth, torch.float64).worst_index == (2, 3)


def test_overflow_of_the_dtype_is_no_error_where_the_truth_does_not_fit_either() -> None:
    truth = torch.tensor([1e6, 1.0], dtype=torch.float64)
    found = judge(truth.half(), truth, torch.float16)
    assert found.passed
    assert found.unjudged == 1


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 0, 2)], ids=str)
def test_empty_gradient_passes(shape: tuple[int, ...]) -> None:
    found = judge(torch.zeros(shape), torch.zeros(shape, dtype=torch.float64), torch.float32)
    assert found.passed
    assert (found.elements, found.worst_index, found.max_abs_error) == (0, None, 0.0)


def test_zero_truth_allows_nothing_but_the_smallest_number() -> None:
    truth = torch.zeros(3, dtype=torch.float64)
    assert judge(torch.zeros(3), truth, torch.float32).passed
    assert not judge(torch.full((3,), 1e-30), truth, torch.float32).passed


@examples(50, 2000)
@given(shape=shapes, seed=seeds)
def test_complex_error_is_caught_in_either_part(shape: tuple[int, ...], seed: int) -> None:
    truth = torch.complex(random(shape, seed), random(shape, seed + 1))
    assert judge(truth.clone(), truth, torch.complex128).passed
    for wrong in (truth.conj(), -truth.conj(), truth * 1j):
        found = judge(wrong, truth, torch.complex128)
        assert not found.passed
        assert found.elements == truth.numel()
        assert found.worst_index is not None
        assert len(found.worst_index) == len(shape)


@examples(50, 2000)
@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple), seed=seeds, limit=st.integers(1, 30))
def test_blocks_cover_every_element_once(shape: tuple[int, ...], seed: int, limit: int) -> None:
    seen = torch.zeros(shape, dtype=torch.int64)
    for index in blocks(torch.Size(shape), limit):
        part = seen[index]
        assert part.numel() <= limit
        seen[index] += 1
    assert bool((seen == 1).all())


@pytest.mark.parametrize("size", [0.5, 2.0, 30.0])
@given(seed=seeds, shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))
def test_judgement_does_not_depend_on_the_blocks(shape: tuple[int, ...], seed: int, size: float) -> None:
    truth = random(shape, seed)
    actual = truth + size * unit_roundoff(torch.float64) * random(shape, seed + 1)
    actual.view(-1)[0] = float("nan") if seed % 3 == 0 else actual.view(-1)[0]
    references = [truth + unit_roundoff(torch.float64) * random(shape, seed + 2)]
    whole = judge(actual, truth, torch.float64, references)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tolerance, "blocks", lambda shape: blocks(shape, 5))
        cut = judge(actual, truth, torch.float64, references)
    assert (cut.passed, cut.rule, cut.wrong_elements, cut.elements, cut.unjudged) == (
        whole.passed,
        whole.rule,
        whole.wrong_elements,
        whole.elements,
        whole.unjudged,
    )
    assert cut.budget_used == pytest.approx(whole.budget_used)
    assert cut.allowed == pytest.approx(whole.allowed)


@examples(50, 2000)
@given(seed=seeds)
def test_judgement_does_not_depend_on_the_layout(seed: int) -> None:
    truth = random((4, 6), seed)
    actual = truth * (1 + 3 * unit_roundoff(torch.float64) * random((4, 6), seed + 1))
    plain = judge(actual, truth, torch.float64)
    strided = judge(actual.T.contiguous().T, truth.repeat_interleave(2, 1)[:, ::2], torch.float64)
    assert (strided.passed, strided.worst_index, strided.max_abs_error) == (
        plain.passed,
        plain.worst_index,
        plain.max_abs_error,
    )
    assert strided.budget_used == pytest.approx(plain.budget_used)


PEAK = """
import resource, sys, torch
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.precision.budget import REFERENCE_ERRORS

def peak():
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kilobytes / 1024

torch.set_num_threads(1)
truth = torch.rand(4_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
references = [truth * (1 + 1e-9), truth * (1 - 1e-9)]
actual = -truth
judge(actual[:2], truth[:2], torch.float64, [r[:2] for r in references])
for shape in [(4_000_000,), (2000, 2000), (1_000_000, 2, 2), (4, 1_000_000)]:
    before = peak()
    found = judge(actual.view(shape), truth.view(shape), torch.float64, [r.view(shape) for r in references])
    assert found.wrong_elements == truth.numel(), found
    print(shape, round(peak() - before))
"""


def test_large_gradient_is_judged_in_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert not [line for line in lines if int(line.split()[-1]) > 64], done.stdout
