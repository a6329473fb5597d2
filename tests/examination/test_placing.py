"""Where memory does not suffice for the truth on a device, it is evaluated on the host, and the report says so.

The free memory of a device is pretended, and with it that the CPU is one that may run out of it.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.examination import pipeline, placing
from gradcheck_lab.examination.placing import least_memory
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"

SHORT = "cpu has too little memory for the truth in float64"
SAID = "CUDA out of memory. Tried to allocate 20.00 GiB."
Fake = Callable[[int], None]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Fake:
    def pretend(amount: int) -> None:
        monkeypatch.setattr(placing, "free_memory", lambda device: amount)

    return pretend


def tanh_that(runs_out: Callable[[Tensor], bool], factor: float = 1.0) -> Any:
    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if runs_out(x):
                raise torch.OutOfMemoryError(SAID)
            y = x.tanh()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return factor * grad_output * (1 - y * y)

    return Tanh


def once() -> Callable[[Tensor], bool]:
    """True for the first run in float64."""
    left = [True]

    def runs_out(x: Tensor) -> bool:
        return x.dtype == torch.float64 and bool(left) and left.pop()

    return runs_out


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("amount", [10, 10**9], ids=["by estimate", "by running out"])
def test_the_truth_is_evaluated_on_the_host(free: Fake, amount: int, factor: float) -> None:
    free(amount)
    runs_out = once() if amount > 10 else lambda x: False
    report = gl.check(tanh_that(runs_out, factor), normal(4, 3).float(), probes=())
    assert report.verdict == ("pass" if factor == 1.0 else "fail")
    assert report.oracle.endswith(f"in float64 on the host, since {SHORT}")
    assert [f.cause for f in report.findings] == ([] if factor == 1.0 else ["constant-factor"])


def test_a_call_that_fits_stays_where_it_is(free: Fake) -> None:
    free(10**9)
    assert gl.check(ops.tanh, normal(4, 3).float(), probes=()).oracle == "autograd in float64"


@pytest.mark.parametrize("program", [False, True])
def test_programs_and_all_probes_are_judged_there_too(free: Fake, program: bool) -> None:
    free(0)
    x, w, b = normal(4, 3).float(), normal(2, 3).float(), normal(2).float()
    report = gl.check(lambda x, w, b: ops.tanh(ops.linear(x, w, b)), x, w, b) if program else gl.check(ops.linear, x, w, b)
    assert report.verdict == "pass"
    assert "on the host" in report.oracle


def test_a_reference_that_runs_out_of_memory_is_evaluated_on_the_host(free: Fake) -> None:
    free(10**9)
    runs_out = once()

    def reference(x: Tensor) -> Tensor:
        if runs_out(x):
            raise torch.OutOfMemoryError(SAID)
        return x.tanh()

    report = gl.check(tanh_that(lambda x: False), normal(4, 3).float(), reference=reference, probes=())
    assert (report.verdict, report.findings) == ("pass", ())
    assert "on the host" in report.oracle


def test_a_forward_that_does_not_run_on_the_host_is_inconclusive(free: Fake) -> None:
    free(10**9)
    ran_out = []

    def runs_out(x: Tensor) -> bool:
        if ran_out:  # from here on its tensors are on the host
            raise NotImplementedError("no kernel for the CPU")
        ran_out.extend([True] * (x.dtype == torch.float64))
        return bool(ran_out)

    report = gl.check(tanh_that(runs_out), normal(4, 3).float(), probes=())
    assert report.verdict == "inconclusive"
    (reason,) = report.reasons
    assert reason == f"{SHORT}, and on the host NotImplementedError: no kernel for the CPU; check a smaller call"


def test_memory_that_runs_out_on_the_host_too_is_inconclusive(free: Fake) -> None:
    free(10**9)
    report = gl.check(tanh_that(lambda x: x.dtype == torch.float64), normal(4, 3).float(), probes=())
    assert (report.verdict, report.findings) == ("inconclusive", ())
    assert report.reasons == (f"{SHORT}, and the host raised OutOfMemoryError: {SAID}; check a smaller call",)


def test_memory_that_the_subject_itself_runs_out_of_stays_its_finding(free: Fake) -> None:
    free(10**9)
    report = gl.check(tanh_that(lambda x: True), normal(4, 3).float())
    assert [f.cause for f in report.findings] == ["memory-exceeded"]


def test_the_least_memory_is_that_of_wide_copies_and_gradients() -> None:
    upstream = (normal(5).float(),)
    assert least_memory(Case((normal(3).double(), normal(4).float(), torch.arange(9)), {}, upstream)) == 8 * (3 + 2 * 4 + 5)
    assert least_memory(Case((normal(3).to(torch.complex64),), {})) == 16 * 6


def large(*shape: int) -> Tensor:
    return normal(*shape).float()


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_large_call_that_is_compared_alone_spares_the_device(free: Fake, factor: float) -> None:
    free(10**12)
    report = gl.check(tanh_that(lambda x: False, factor), large(1100, 1000), probes=())
    assert report.verdict == ("pass" if factor == 1.0 else "fail")
    assert report.oracle.endswith("in float64 on the host, which spares cpu")
    assert {f.cause for f in report.findings} == (set() if factor == 1.0 else {"constant-factor"})


def test_a_forward_that_fails_on_the_host_is_judged_on_the_device(free: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    free(10**12)
    spared, on_host = pipeline.judged_to_spare_the_device, [False]

    def watched(*arguments: Any) -> Any:
        on_host[0] = True
        found = spared(*arguments)
        on_host[0] = False
        assert found is None
        return found

    monkeypatch.setattr(pipeline, "judged_to_spare_the_device", watched)
    report = gl.check(tanh_that(lambda x: on_host[0]), large(1100, 1000), probes=())
    assert report.verdict == "pass"
    assert report.oracle.endswith("in float64")


def test_a_large_call_with_probes_and_a_small_one_are_judged_where_they_are(free: Fake) -> None:
    free(10**12)
    tanh = tanh_that(lambda x: False)
    assert "host" not in gl.check(tanh, large(1100, 1000), probes={"state"}).oracle
    assert "host" not in gl.check(tanh, large(11, 10), probes=()).oracle
