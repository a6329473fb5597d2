"""The hand-written ops with their tensors on an accelerator of whatever kind: the same promises as on the CPU."""

from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.devices import accelerator
from gradcheck_lab.examination.examined import Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.torch_internals import DispatchMode

KIND = accelerator()
if KIND is None:
    pytest.skip("no accelerator: the hand-written ops are held on the CPU alone", allow_module_level=True)

EVERY = [op for family in ops.FAMILIES.values() for op in family]


@pytest.mark.gradcheck(devices=[KIND])
@gl.parametrize_checks(EVERY)
def test_promise_on_the_accelerator(gradcheck: Any, check: Any) -> None:
    report = gradcheck(check)
    assert report.gradients


class Sum(torch.autograd.Function):
    """The sum of the hyperbolic tangents of any number of inputs."""

    @staticmethod
    def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*inputs)
        return torch.stack([value.tanh() for value in inputs]).sum(0)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(grad_output * (1 - value.tanh().square()) for value in ctx.saved_tensors)


class Reads(DispatchMode):
    """Counts what waits for the accelerator: operators that read a number of it, and copies from it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.removeprefix("aten::")
        reads = name in ("_local_scalar_dense", "equal", "nonzero", "is_nonzero")
        reads |= name == "_to_copy" and torch.device(kwargs.get("device") or args[0].device).type == "cpu"
        self.count += reads and any(isinstance(value, torch.Tensor) and not value.is_cpu for value in args)
        return func(*args, **kwargs)


def test_reads_of_the_accelerator_do_not_grow_with_the_number_of_gradients() -> None:
    counts = []
    for count in (2, 8):
        inputs = tuple(torch.randn(5, 3, generator=torch.Generator().manual_seed(k)).to(KIND) for k in range(count))
        subject = adapt(Sum, inputs, {})
        with Reads() as reads:
            examined = examine(Runner(subject), Case(subject.inputs, {}), Policy(thorough=False))
        assert examined.passed
        assert len(examined.comparisons) == count
        counts.append(reads.count)
    assert 0 < counts[0] == counts[1] <= 8


class OnItsOwnStream(torch.autograd.Function):
    """A backward that computes on another stream, and returns before that has finished."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, row)
        return x.tanh() * row

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, row = ctx.saved_tensors
        stream = torch.Stream(device=x.device)
        stream.wait_stream(torch.accelerator.current_stream())
        with stream:
            y = x.tanh()
            return grad_output * row * (1 - y * y), (grad_output * y).flatten(0, -2).sum(0)


def test_gradients_of_another_stream_are_waited_for() -> None:
    x, row = torch.randn(400, 50, device=KIND), torch.randn(50, device=KIND)
    for probes in ((), gl.ALL):
        assert gl.check(OnItsOwnStream, x, row, probes=probes).verdict == "pass"
