"""Runs the user's code: every run seeds the global generators and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.kernels.starting import launches
from gradcheck_lab.subjects.subject import Manual, Recording, Subject, Trace


@dataclass(slots=True)
class Evaluations:
    """How often the user's forward and backward ran in one check; the runners of the check share it.

    `derived` counts the calls that probes made: compared ones under `COMPARED`, the others by why they were not. `looking` is
    how many of the forwards were run to hold derived calls against numbers, `launched` how many kernels the process had
    interpreted before.
    """

    forward: int = 0
    backward: int = 0
    derived: Counter[str] = field(default_factory=Counter)
    looking: int = 0
    launched: int = field(default_factory=launches)

    def to_dict(self) -> dict[str, int]:
        """The counts by name, as a report has them."""
        return {"forward": self.forward, "backward": self.backward}


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs a subject's forward and backward, seeded and counted; exceptions of the user's code pass through.

    Only the user's code writes to the tensors.
    """

    subject: Subject
    evaluations: Evaluations = field(default_factory=Evaluations)

    def begin(self, seed: int, forward: int = 0, backward: int = 0) -> None:
        """Seed the generators and count runs that the caller makes itself."""
        seed_all(seed)
        self.count(forward, backward)

    def count(self, forward: int = 0, backward: int = 0) -> None:
        """Count runs without seeding the generators again."""
        self.evaluations.forward += forward
        self.evaluations.backward += backward

    def record(self, inputs: Sequence[Any], case: Case) -> Recording:
        """Run the hand-written side's forward on these tensors (no copies), with the options and seed of a case."""
        self.begin(case.seed, forward=1)
        return self.subject.record(tuple(inputs), case.options)

    def backward(self, recording: Recording, grad_outputs: tuple[Any, ...], seed: int) -> Manual:
        """Run the hand-written backward of a recorded forward on these tensors (no copies)."""
        self.begin(seed, backward=1)
        return recording.backward(grad_outputs)

    def trace(self, inputs: Sequence[Any], case: Case, substitute: frozenset[int] = frozenset()) -> Trace:
        """Run the same forward under autograd, with the options and seed of a case."""
        assert self.subject.trace is not None
        self.begin(case.seed, forward=1)
        return self.subject.trace(tuple(inputs), case.options, substitute)

    def forward(self, inputs: Sequence[Any], case: Case) -> tuple[torch.Tensor, ...]:
        """Run the plain function from inputs to outputs, with the options and seed of a case."""
        self.begin(case.seed, forward=1)
        return self.subject.forward(tuple(inputs), case.options)
