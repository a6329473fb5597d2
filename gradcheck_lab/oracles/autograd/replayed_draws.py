"""The random tensors of one forward, handed out again on other runs of it, in whatever dtype those are.

Seeding alone is not enough: with one seed `rand_like` draws other numbers in float64 than in float32, so a float64 run of
a float32 dropout would drop other elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Trace
from gradcheck_lab.torch_internals import DispatchMode

_RRELU = (torch.ops.aten.rrelu_with_noise, torch.ops.aten.rrelu_with_noise_)


class RecordedDraws:
    """What a forward drew, in order; `record` while it runs first, `replay` around every later run.

    A later run that draws otherwise (another count, other shapes) draws for itself.

    >>> draws = RecordedDraws()
    >>> with draws.record():
    ...     first = torch.rand(3, dtype=torch.float32)
    >>> with draws.replay():
    ...     again = torch.rand(3, dtype=torch.float64)
    >>> torch.equal(first.double(), again)
    True
    """

    def __init__(self) -> None:
        self.drawn: list[torch.Tensor] = []

    @contextmanager
    def record(self) -> Iterator[None]:
        """Keep every random tensor that torch draws in the block."""
        self.drawn.clear()
        with _Mode(self._keep):
            yield

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Hand out the kept tensors, in order, in place of every random tensor that torch draws in the block."""
        remaining = iter(self.drawn)
        with _Mode(lambda function, args, kwargs: _handed(next(remaining, None), function, args, kwargs)):
            yield

    def _keep(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        # of a fused dropout, the mask, and of a randomised relu, its slopes; of everything else, the one result
        drawn = args[1] if function.overloadpacket in _RRELU else result[-1] if isinstance(result, (tuple, list)) else result
        self.drawn.append(drawn.detach().clone())
        return result


def replayed(runner: Runner, case: Case) -> Runner:
    """The runner whose oracles' forwards all draw what one forward on `case`, run here, draws."""
    draws, subject = RecordedDraws(), runner.subject
    with draws.record():
        runner.forward(copy_inputs(case.inputs), case)

    def forward(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        with draws.replay():
            return subject.forward(inputs, options)

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        assert subject.trace is not None
        with draws.replay():
            return subject.trace(inputs, options, substitute)

    def connected(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        assert subject.connected is not None
        with draws.replay():
            return subject.connected(inputs, options)

    return replace(
        runner,
        subject=replace(
            subject,
            forward=forward,
            trace=None if subject.trace is None else trace,
            connected=None if subject.connected is None else connected,
        ),
    )


class _Mode(DispatchMode):
    def __init__(self, draw: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self.draw = draw

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        fixed = func.overloadpacket in _RRELU and not (kwargs.get("training") if len(args) < 5 else args[4])
        if torch.Tag.nondeterministic_seeded not in func.tags or fixed:
            return func(*args, **kwargs)
        return self.draw(func, args, kwargs)


def _handed(kept: torch.Tensor | None, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if function.overloadpacket in _RRELU and kept is not None and kept.shape == args[1].shape:
        slopes = args[1].copy_(kept)
        return args[0] * slopes if function.overloadpacket is _RRELU[0] else args[0].mul_(slopes)
    result = function(*args, **kwargs)
    drawn = result[-1] if isinstance(result, (tuple, list)) else result
    if kept is None or kept.shape != drawn.shape:
        return result
    if function.overloadpacket is torch.ops.aten.native_dropout:
        value, p = args[0], args[1]
        return value * kept / (1 - p) if p < 1 else torch.zeros_like(value), kept
    drawn.copy_(kept)
    return result
