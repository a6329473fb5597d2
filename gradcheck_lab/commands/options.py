"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.workers.starting import start_server

if TYPE_CHECKING:
    from gradcheck_lab.workers.apart import Limits

Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Specs = Annotated[list[str] | None, typer.Option(help="One per input, as \"real('n d')\"; needed where it has none.")]
Dtype = Annotated[str | None, typer.Option(help="float64 where inputs are drawn, float32, bfloat16 or float16.")]
Options = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the forward.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")]
Reports = Annotated[
    list[Path] | None,
    typer.Option("--report", metavar="FILE", help="Write a page as FILE.html, or .json, or .sarif; repeat it for several."),
]
Github = Annotated[
    bool,
    typer.Option("--github", help="Annotate backwards on GitHub and write the job's summary; in a workflow there it is on."),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="What the check of one object, or one drawn call, may take.")
]
MemoryLimit = Annotated[
    float | None, typer.Option(metavar="MIB", help="What it may take of memory, beside what its process starts with.")
]
Isolate = Annotated[
    bool | None, typer.Option(help="Run it in a process of its own, whose end is a finding; by default only a module.")
]

TritonInterpret = Annotated[
    bool,
    typer.Option("--triton-interpret", help="Run Triton kernels on the CPU, in Triton's interpreter, and watch their memory."),
]


def interpret_if(wanted: bool) -> None:
    """Have Triton interpret kernels, before anything of the user's is imported and before a worker process starts."""
    if wanted:
        from gradcheck_lab.kernels.starting import interpret_triton

        interpret_triton("--triton-interpret")


def limits_from(target: str, timeout: float | None, mebibytes: float | None, isolate: bool | None) -> Limits | None:
    """The limits of a worker process, None for none of them; a module is checked in workers unless the user says otherwise."""
    apart = isolate or (isolate is None and ":" not in target) or timeout is not None or mebibytes is not None
    if apart:
        start_server()
    from gradcheck_lab.isolation import limits_of

    if mebibytes is not None and not 0 < mebibytes < float("inf"):
        raise InvalidArgument(f"memory-limit is {mebibytes:g}; pass a number of MiB above 0")
    if isolate is False and (timeout is not None or mebibytes is not None):
        raise InvalidArgument("--timeout and --memory-limit end a process of its own; leave --no-isolate out")
    memory = None if mebibytes is None else max(1, int(mebibytes * 2**20))
    return limits_of(apart or None, timeout, memory)


def refuse_of_ranks(world: int | None, **given: object) -> None:
    """Raise `InvalidArgument` for what says how a function lies on ranks where it is checked on none."""
    if world is None and (names := _given(given)):
        raise InvalidArgument(f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} for several ranks; add --world 2")


def refuse_beside_ranks(target: str, **given: object) -> None:
    """Raise `InvalidArgument` for what a check on several ranks does not take."""
    if ":" not in target:
        raise InvalidArgument(f"--world checks one function; write it as {target}:name")
    if names := _given(given):
        raise InvalidArgument(f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not for --world; leave it out")


def _given(values: Mapping[str, object]) -> list[str]:
    """The options that were given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name, value in values.items() if value is not None and value is not False]
