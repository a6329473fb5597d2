"""A call that ends the context of its device is told as that, once, and nothing is asked of the device again."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

import gradcheck_lab as gl
from gradcheck_lab.calls import lost_device
from gradcheck_lab.calls.lost_device import of_accelerator, refuse_dead_device, refuse_lost_device, works
from gradcheck_lab.examination import pipeline
from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.probes import Context
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"

SAID = "CUDA error: an illegal memory access was encountered"
LATER = "kernels run on while Python goes on, so an earlier line may have launched the one that failed"
NOTHING_ELSE = "nothing else was run: no call in this process can use the device any more"


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Errors of an accelerator end its context here, whatever accelerator there is; what is added is why it works on."""
    working: list[str] = []
    monkeypatch.setattr(lost_device, "_lost", {})
    monkeypatch.setattr(lost_device, "works", lambda device: bool(working))
    return working


class Failing:
    """Doubles, until a call of a stage ends the context; every later one raises the same, as on a GPU."""

    def __init__(self, stage: str, after: int = 0) -> None:
        self.stage, self.left, self.raised = stage, after, 0

    def step(self, stage: str) -> None:
        if stage == self.stage:
            self.left -= 1
        if self.left < 0:
            self.raised += 1
            raise torch.AcceleratorError(f"{SAID}\nCUDA kernel errors might be asynchronously reported at some other API call")

    @property
    def function(self) -> Any:
        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                self.step("forward")
                return 2 * x

            @staticmethod
            def backward(ctx: Any, grad_output: Tensor) -> Tensor:
                self.step("backward")
                return 2 * grad_output

        return Double


ROWS = {
    "forward": (Failing("forward"), "the forward of the call as given", "forward"),
    "backward": (Failing("backward"), "the backward of the call as given", "backward"),
    "forward under autograd": (Failing("forward", 1), "the forward under autograd of the call as given", "forward"),
    "in a probe": (Failing("backward", 1), "the backward of a call that the probe state made of the call as given", "backward"),
}


@pytest.mark.parametrize("name", ROWS)
def test_call_that_ends_the_context_is_named_and_is_the_last(name: str) -> None:
    failing, words, stage = ROWS[name]
    report = gl.check(failing.function, normal(4))
    (found,) = report.findings
    assert (report.verdict, found.cause, found.message) == ("fail", "device-lost", f"{words} left its device unusable")
    assert (found.stage, found.exception, found.explanation) == (stage, "AcceleratorError", f"{SAID}; {LATER}")
    assert found.location.startswith("tests/calls/test_lost_device.py:")
    assert found.suggestion == (
        "look for an index beyond its tensor on the line that launched the kernel; compute-sanitizer names the access"
    )
    assert report.reasons[-1] == NOTHING_ELSE
    assert [gradient.verdict for gradient in report.gradients] == (["pass"] if name == "in a probe" else [])
    assert gl.Report.from_dict(report.to_dict()) == report
    assert failing.raised == 1


def test_device_that_works_on_leaves_an_exception_of_the_users_code(device: list[str]) -> None:
    device.append("the error was of one call alone")
    report = gl.check(Failing("backward").function, normal(4))
    assert (report.verdict, [finding.cause for finding in report.findings]) == ("fail", ["raises"])


def test_error_that_is_seen_when_the_call_is_waited_for_is_that_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(values: Any) -> None:
        raise torch.AcceleratorError(SAID)

    # the module, whose name in its package is that of the function
    monkeypatch.setattr(sys.modules["gradcheck_lab.subjects.contained"], "finished", waits)
    (found,) = gl.check(Failing("none").function, normal(4)).findings
    assert (found.cause, found.message) == ("device-lost", "the forward of the call as given left its device unusable")


def test_error_that_is_seen_when_a_number_is_read_is_of_the_call_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(*arguments: Any, **keywords: Any) -> Any:
        raise torch.AcceleratorError(SAID)

    monkeypatch.setattr(pipeline, "compare_returned", reads)
    report = gl.check(Failing("none").function, normal(4))
    (found,) = report.findings
    assert (report.verdict, found.cause) == ("fail", "device-lost")
    assert found.message == "the forward under autograd of the call as given left its device unusable"


def test_error_in_a_probe_of_ones_own_is_no_defect_of_the_probe() -> None:
    def reads(context: Context) -> Any:
        raise torch.AcceleratorError(SAID)

    report = gl.check(Failing("none").function, normal(4), probes=[reads])
    assert [finding.cause for finding in report.findings] == ["device-lost"]
    assert report.reasons == (NOTHING_ELSE,)


def test_fuzz_ends_with_the_drawn_call() -> None:
    failing = Failing("backward", 6)
    report = gl.fuzz(failing.function, "real('n d')", max_examples=20)
    (found,) = report.findings
    assert (report.verdict, found.cause, report.reasons) == ("fail", "device-lost", (NOTHING_ELSE,))
    assert found.message.startswith("the call on input_0: float")
    assert report.failing_case is not None
    assert failing.raised == 1


class OnAccelerator(torch.Tensor):
    """A tensor that says it is on an accelerator."""

    @property
    def is_cpu(self) -> bool:
        return False

    @property
    def device(self) -> torch.device:
        return torch.device("cuda:1")


def test_context_that_an_earlier_call_ended_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_device, "_current", lambda: torch.device("cuda"))
    value = torch.ones(2).as_subclass(OnAccelerator)
    with pytest.raises(gl.InvalidArgument) as refused:
        refuse_dead_device("double", [value, 3])
    assert str(refused.value) == (
        "cuda:1, which holds the inputs of double, no longer works in this process: an earlier call ended its context; start a "
        "new process, and pass isolate=True there"
    )
    with pytest.raises(DeviceLost):  # whatever class the library that launched the kernel has for it
        refuse_lost_device(RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), [value])
    with pytest.raises(gl.InvalidArgument) as refused:
        refuse_dead_device("double", [value])
    said = "RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered"
    assert f"no longer works in this process ({said}): an earlier call ended its context" in str(refused.value)
    refuse_dead_device("double", [torch.ones(2)])


@pytest.mark.parametrize(
    ("error", "is_one"),
    [(torch.AcceleratorError(SAID), True), (RuntimeError(SAID), False), (torch.OutOfMemoryError(), False)],
    ids=["accelerator", "message alone", "memory"],
)
def test_error_of_an_accelerator_is_known_by_its_class(error: Exception, is_one: bool) -> None:
    assert of_accelerator(error) is is_one
    with pytest.raises(DeviceLost) if is_one else nullcontext():
        refuse_lost_device(error)


def test_what_is_asked_of_a_device_is_a_sum() -> None:
    assert works(torch.device("cpu"))
    assert not works(None)
    assert not works(torch.device("meta"))
    with FakeTensorMode():
        assert works(torch.device("cpu"))
