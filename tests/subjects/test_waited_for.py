"""Whatever runs the user's code, the devices of its inputs and results are waited for: it may compute on its own stream."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.subjects import adapt
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return 2 * grad_output


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, ...]]]:
    """The shapes of the tensors that each wait was for."""
    seen: list[list[tuple[int, ...]]] = []

    def finished(values: Iterable[Any]) -> None:
        seen.append([tuple(value.shape) for value in values if isinstance(value, torch.Tensor)])

    for room in ("contained", "subject"):
        monkeypatch.setattr(sys.modules[f"gradcheck_lab.subjects.{room}"], "finished", finished)
    return seen


RUNS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "record": lambda made, x: made.record((x,), {}),
    "backward": lambda made, x: made.record((x,), {}).backward((x,)),
    "engine": lambda made, x: made.record((x,), {}).engine((x,)),
    "trace": lambda made, x: made.trace((x.requires_grad_(),), {}, frozenset()),
    "forward": lambda made, x: made.forward((x,), {}),
    "connected": lambda made, x: made.connected((x.requires_grad_(),), {}),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_the_users_code_is_waited_for(waited: list[list[tuple[int, ...]]], run: str) -> None:
    made = adapt(Doubled, (normal(3, 2),), {})
    waited.clear()
    RUNS[run](made, normal(3, 2))
    assert waited[-1] == [(3, 2), (3, 2)]  # the input and the result
    assert len(waited) == 1 + (run in ("backward", "engine"))


def test_the_rule_of_an_op_alone_is_waited_for(waited: list[list[tuple[int, ...]]]) -> None:
    gl.check(lambda x: ops.tanh(ops.sum(x, dim=1)), normal(3, 2), probes=())
    assert [(3,), (3,)] in waited  # tanh's own backward, on the values of the oracle
