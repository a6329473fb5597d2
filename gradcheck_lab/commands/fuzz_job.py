"""One object to fuzz by one process: what is asked, how it is divided, and what comes of it as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab import specs
from gradcheck_lab.discovery.description import constructed, specs_of
from gradcheck_lab.discovery.targets import CannotConstruct, NoSpecs, locate, read_option
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.plan import Before, Plan

Counts = Callable[[str, int, int], None]  # which object, its examples so far, whether one is wrong


@dataclass(frozen=True, slots=True)
class Job:
    """One object to fuzz by one process."""

    target: str
    examples: int
    seed: int
    made_with: int
    specs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    order: int = 1
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What the object is called in its module."""
        return self.target.partition(":")[2]


def plan_of(
    job: Job, counts: Counts = lambda name, examples, found: None, before: Before = lambda call, probed: None
) -> Plan:
    """The fuzz run of one job. Raises `InvalidArgument` for what cannot be found, constructed or described."""
    module_name, _, name = job.target.partition(":")
    found = locate(job.target)
    try:
        found = constructed(found, name, job.made_with, torch.float64)
    except InvalidArgument as error:
        raise CannotConstruct(job.target, "fuzzed", str(error)) from error.__cause__
    signature: Sequence[Any] = tuple(specs.parse(text) for text in job.specs)
    if not signature and not getattr(found, "signatures", ()):
        signature = specs_of(found, module_name, name)
        if not signature:
            raise NoSpecs(
                f"{job.target} has no specs to draw its inputs from; give one per input, such as "
                "--spec \"real('n d')\" --spec \"labels('n', classes='d')\""
            )
    options = dict(read_option(text) for text in job.options)
    return Plan(
        found, signature, options, None, job.examples, job.order, set(job.allow), job.seed, job.target, job.folder,
        lambda examples, wrong: counts(name, examples, wrong), made_with=job.made_with, before=before,
    )  # fmt: skip


def divided(job: Job, parts: int) -> Iterator[Job]:
    """The job with its examples divided among `parts`, each with a seed of its own."""
    parts = min(parts, job.examples)
    for part in range(parts):
        examples = job.examples * (part + 1) // parts - job.examples * part // parts
        yield replace(job, examples=examples, seed=job.seed + part)
