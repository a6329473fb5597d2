"""The first look at all gradients of a backward: one read of their device, and the judgement of each as by itself."""

import itertools
from typing import Any

import pytest
import torch

from gradcheck_lab.comparison import first_looks as room
from gradcheck_lab.comparison.blocks import blocks
from gradcheck_lab.comparison.budget import judge, look, looked
from gradcheck_lab.comparison.first_looks import Entry, copied_to_the_host, first_looks
from gradcheck_lab.model.limits import Limit
from tests.mistakes.registry import normal

READS = ("cpu", "tolist", "item", "__float__", "__bool__", "__int__", "equal", "nonzero", "numpy")
DTYPES = [torch.float32, torch.float64, torch.float16, torch.complex64]


class OnDevice(torch.Tensor):
    """A tensor that says it is on an accelerator, and counts what would wait for that."""

    reads = 0

    @property
    def is_cpu(self) -> bool:
        return False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        OnDevice.reads += name in READS
        found = super().__torch_function__(func, types, args, kwargs or {})
        return found.as_subclass(torch.Tensor) if name == "cpu" else found


def entries(count: int, off: float = 0.0, dtype: torch.dtype = torch.float32, on_device: bool = True) -> dict[int, Entry]:
    """Gradients that are right but for rounding, the first `off` by a factor."""
    found = {}
    for k in range(count):
        truth = normal(8 + k, 5).to(torch.complex128 if dtype.is_complex else torch.float64)
        actual = (truth * (1 + off * (k == 0))).to(dtype)
        pair = [value.as_subclass(OnDevice) if on_device else value for value in (actual, truth)]
        found[k] = Entry(*pair, dtype)
    return found


@pytest.fixture(params=["copied", "on the device"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "on the device":
        monkeypatch.setattr(room, "ELEMENTS_TO_THE_HOST", Limit(0, "none is copied"))
    return str(request.param)


def test_the_reads_do_not_grow_with_the_number_of_gradients(limit: str) -> None:
    counts = []
    for count in (1, 2, 7):
        OnDevice.reads = 0
        found = first_looks(entries(count), 0.0, 1.0)
        counts.append(OnDevice.reads)
        assert [each.judgement.passed for each in found.values()] == [True] * count
    assert counts == [1, 1, 1]


def test_one_that_is_beyond_rounding_costs_a_few_reads_more(limit: str) -> None:
    counts = []
    for count in (2, 7):
        OnDevice.reads = 0
        found = first_looks(entries(count, off=0.1), 0.0, 1.0)
        counts.append(OnDevice.reads)
        assert [each.judgement.passed for each in found.values()] == [False] + [True] * (count - 1)
    assert counts[0] == counts[1] <= 5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("off", [0.0, 1e-7, 0.1])
def test_each_is_judged_as_by_itself(limit: str, dtype: torch.dtype, off: float) -> None:
    found = first_looks(entries(3, off, dtype), 0.0, 1.0)
    for k, each in entries(3, off, dtype, on_device=False).items():
        alone, together = judge(each.actual, each.truth, dtype, all_blocks=False), found[k].judgement
        for name in ("passed", "rule", "worst_index", "wrong_elements", "elements"):
            assert getattr(together, name) == getattr(alone, name)
        for name in ("max_abs_error", "allowed", "budget_used", "sensitivity"):
            assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-12)


def test_a_large_gradient_is_looked_at_in_blocks() -> None:
    truth = normal(7, 4, 3).double()
    actual = truth.float()
    places = list(blocks(truth.shape, 5))
    found = looked(truth, torch.float32, 1.0, [(i, look(actual[i], truth[i], torch.float32).tolist()) for i in places])
    alone = judge(actual, truth, torch.float32)
    assert found is not None
    assert len(places) > 10
    assert (found.worst_index, found.budget_used) == (alone.worst_index, alone.budget_used)
    assert found.worst_index is not None
    assert found.at_worst == (float(actual[found.worst_index]), float(truth[found.worst_index]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_within_rounding(bad: float) -> None:
    truth = normal(4, 3).double()
    actual = truth.float()
    actual[1, 2] = bad
    assert looked(truth, torch.float32, 1.0, [((), look(actual, truth, torch.float32).tolist())]) is None


def test_copies_of_any_dtypes_and_layouts_keep_their_values() -> None:
    dtypes = [torch.float16, torch.complex128, torch.bfloat16, torch.float32, torch.int8, torch.complex64, torch.float64]
    given = [normal(3, k + 1).to(dtype).T for k, dtype in enumerate(dtypes)]
    given += [normal(2, 2).to(torch.complex64).conj(), normal(0), normal(1)[0]]
    for shuffled in itertools.islice(itertools.permutations(given, len(given)), 0, 50_000, 9_973):
        for value, copy in zip(shuffled, copied_to_the_host(shuffled), strict=True):
            assert (copy.dtype, copy.shape) == (value.dtype, value.shape)
            assert torch.equal(copy, value)
