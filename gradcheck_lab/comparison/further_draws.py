"""The call on other values: an explanation of a wrong gradient has to hold there too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.calls.drawn_again import drawn_again, similar_inputs
from gradcheck_lab.calls.randomness import has_torch_drawn_since, torch_states
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.replayed_draws import replayed
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key, Recording


@dataclass(frozen=True, slots=True)
class Draw:
    """One run of the hand-written side on other values; `delivered` are the gradients that torch's engine makes of it."""

    case: Case
    oracle: AutogradOracle
    returned: tuple[Any, ...]
    intermediates: Mapping[Key, torch.Tensor | None]
    delivered: tuple[Any, ...] | None

    def pair(self, key: Key, delivered: bool = False) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The gradient at `key` and the true one; None where either is missing or their shapes differ."""
        actual, expected = self.gradient(key, delivered), self.oracle.truth().gradients.get(key)
        return None if actual is None or expected is None or actual.shape != expected.shape else (actual, expected.detach())

    def gradient(self, key: Key, delivered: bool = False) -> torch.Tensor | None:
        """The hand-written gradient at `key`; None where it is missing or not finite."""
        if key.role == "value":
            found = self.intermediates.get(key)
        else:
            entries = (self.delivered or ()) if delivered else self.returned
            found = entries[key.first] if key.first < len(entries) else None
        usable = is_differentiable(found) and found is not None and found.layout == torch.strided
        return found.detach() if usable and found is not None and bool(torch.isfinite(found).all()) else None


class FurtherDraws:
    """Draws of one call, each made when it is first asked for: similar inputs and another upstream, then the upstream alone.

    More of similar inputs follow, for where the gradient is right on the first ones, as a layer of dead units has it.
    """

    def __init__(self, runner: Runner, case: Case) -> None:
        self.runner, self.case = runner, case
        similar = similar_inputs(case.inputs)
        self._cases = drawn_again(case, (similar, None, similar, similar))
        self._made: list[Draw] = []

    def __iter__(self) -> Iterator[Draw]:
        yield from self._made
        while (case := next(self._cases, None)) is not None:
            try:
                draw = self._draw(case)
            except Exception:  # nobody asked for this call: where it does not run, it says nothing
                continue
            if draw is not None:
                self._made.append(draw)
                yield draw

    def _draw(self, case: Case) -> Draw | None:
        case = replace(case, label="drawn again")
        generator = torch.Generator().manual_seed(case.seed)
        subject = self.runner.subject
        if subject.op is not None:
            subject.op.validate(case.inputs, dict(case.options))
        self.runner.begin(case.seed, forward=1)
        states = torch_states()
        recording = subject.record(copy_inputs(case.inputs), case.options)
        runner = replayed(self.runner, case) if has_torch_drawn_since(states) else self.runner
        upstream = recording.fixed_grad_outputs or tuple(_another(g, generator) for g in self.case.grad_outputs or ())
        if recording.fixed_grad_outputs is not None and case.inputs is self.case.inputs:
            return None  # the call as it was
        if not all(bool(torch.isfinite(o).all()) for o in recording.outputs if is_differentiable(o)):
            return None
        case = replace(case, grad_outputs=tuple(upstream))
        manual = self.runner.backward(recording, copy_inputs(upstream), case.seed)
        engine = _delivered(recording, copy_inputs(upstream))
        return Draw(case, AutogradOracle(runner, case, copies=True), as_tuple(manual.returned), manual.intermediates, engine)


def _delivered(recording: Recording, upstream: tuple[Any, ...]) -> tuple[Any, ...] | None:
    try:
        return None if recording.engine is None else recording.engine(upstream)
    except Exception:  # the engine does not take what the backward returned
        return None


def _another(upstream: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another upstream gradient; that of an output which carries none stays zero."""
    return random_like(upstream, generator) if is_differentiable(upstream) and bool(upstream.any()) else upstream


def on_further_draws(draws: FurtherDraws | None, gradient: Callable[[Draw], Any]) -> Callable[[], Iterator[Any]] | None:
    """What `gradient` makes of each draw, but None; None where there are no draws to be made."""
    if draws is None:
        return None

    def made() -> Iterator[Any]:
        for draw in draws:
            try:
                found = gradient(draw)
            except Exception:  # the oracle does not take these values
                continue
            if found is not None:
                yield found

    return made
