"""A fuzz job: one object with its share of the examples, as plain data that can be sent to a worker process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab import specs
from gradcheck_lab.discovery.description import constructed, specs_of
from gradcheck_lab.discovery.partners import subject_at
from gradcheck_lab.discovery.targets import CannotConstruct, NoSpecs, module_name_of, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.ordinary import BeforeCall
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.model.limits import DRAWN_EXAMPLES, INTERPRETED_EXAMPLES

ShowCounts = Callable[[str, int, int], None]  # the object's name, its examples so far, and 1 once one of them is wrong


@dataclass(frozen=True, slots=True)
class Job:
    """One object to fuzz by one process; the fields are the options of the command.

    `constructor_seed` constructs an object from its class. It is the command's seed in every part of a job that was split,
    so that all parts fuzz the same object.
    """

    target: str
    examples: int
    seed: int
    constructor_seed: int
    specs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    order: int = 1
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What the object is called in its module."""
        return self.target.partition(":")[2]


def fuzz_run_of(
    job: Job, show: ShowCounts = lambda name, examples, found: None, before_call: BeforeCall = lambda call, probed: None
) -> FuzzRun:
    """The fuzz run of one job. Raises `InvalidArgument` for an object that cannot be imported, constructed or described."""
    module_name, _, name = job.target.partition(":")
    found = subject_at(job.target)
    try:
        found = constructed(found, name, job.constructor_seed, torch.float64)
    except InvalidArgument as error:
        raise CannotConstruct(job.target, "fuzzed", str(error)) from error.__cause__
    signature: Sequence[Any] = tuple(specs.parse(text) for text in job.specs)
    if not signature and not getattr(found, "signatures", ()):
        signature = specs_of(found, module_name_of(module_name), name)
        if not signature:
            raise NoSpecs(job.target)
    return FuzzRun(
        found,
        signature,
        options=dict(read_option(text) for text in job.options),
        max_examples=job.examples,
        order=job.order,
        allow=set(job.allow),
        seed=job.seed,
        target=job.target,
        folder=job.folder,
        on_example=lambda examples, wrong: show(name, examples, wrong),
        constructor_seed=job.constructor_seed,
        before_call=before_call,
    )


def default_examples(interpreted: bool) -> int:
    """How many calls are drawn where nobody says, of kernels that are `interpreted` or not."""
    return (INTERPRETED_EXAMPLES if interpreted else DRAWN_EXAMPLES).value


def split(job: Job, parts: int) -> Iterator[Job]:
    """The job in `parts` jobs on the same object, each with its share of the examples and a seed of its own."""
    parts = min(parts, job.examples)
    for part in range(parts):
        examples = job.examples * (part + 1) // parts - job.examples * part // parts
        yield replace(job, examples=examples, seed=job.seed + part)
