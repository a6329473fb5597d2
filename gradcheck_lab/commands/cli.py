"""The command line: `gradcheck-lab demo`, `check`, `fuzz`, `replay`, `judge`, `mutate` and `list`.

Each command is a file of its own beside this one; those of `campaign` share one.
Exit codes: 0 pass, 1 fail, 2 misuse, 3 inconclusive, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

# Everything that needs torch is imported inside the commands, so that --help is quick.
from gradcheck_lab.commands.campaign import app as campaign
from gradcheck_lab.commands.exits import EXIT_CODES, INTERRUPTED, MISUSE, misuse_exits, refuse_unwritable_files, write_json
from gradcheck_lab.commands.options import (
    Dtype,
    Github,
    Isolate,
    Json,
    MemoryLimit,
    Options,
    Reports,
    Seed,
    Specs,
    Timeout,
    TritonInterpret,
    interpret_if,
    limits_from,
    refuse_beside_ranks,
    refuse_of_ranks,
)
from gradcheck_lab.commands.results import Results
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import WORST_FIRST
from gradcheck_lab.version import __version__

if TYPE_CHECKING:
    from gradcheck_lab.commands.check import CheckJob
    from gradcheck_lab.commands.check_ranks import RanksJob
    from gradcheck_lab.report import Report
    from gradcheck_lab.workers.apart import Limits

app = typer.Typer(
    name="gradcheck-lab",
    help="Check hand-written gradients against autograd. Exit 0 pass, 1 fail, 2 misuse, 3 inconclusive, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(campaign, name="campaign")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gradcheck-lab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; `arguments` stand in for those of the process."""
    app(args=None if arguments is None else list(arguments), prog_name="gradcheck-lab")
    sys.exit(0)


@app.command()
def demo(
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option(help="Epochs of training; 25 if not given.")] = None,
    json: Json = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write loss curves and errors as a picture.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify all reference networks instead.")] = False,
) -> None:
    """Check two networks on the digits data, train both sides in lockstep, and catch planted mistakes."""
    with misuse_exits():
        refuse_unwritable_files(json, plot)
        if every:
            raise typer.Exit(_run_demo_all(seed, json, plot, epochs))
        from gradcheck_lab.commands.demo import run

        result = run(seed=seed, epochs=25 if epochs is None else epochs, plot=plot)
        write_json(json, result.data)
    raise typer.Exit(EXIT_CODES["fail" if result.problems else "pass"])


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE[:NAME]",
            help="What to check, as pkg.module:name or file.py:name; without a name all in it; or a folder, as layers/.",
        ),
    ],
    spec: Specs = None,
    seed: Seed = 0,
    dtype: Dtype = None,
    option: Options = None,
    order: Annotated[int, typer.Option(help="2 for second derivatives too.")] = 1,
    json: Json = None,
    report: Reports = None,
    github: Github = False,
    allow: Annotated[list[str] | None, typer.Option(metavar="CAUSE", help="A cause that shall not fail the check.")] = None,
    wrt: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An input that needs a gradient, by name or position; else all.")
    ] = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    isolate: Isolate = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 where something of a module or folder was not checked.")
    ] = False,
    compile: Annotated[
        bool, typer.Option("--compile", help="Run it under torch.compile as well, which takes seconds to minutes.")
    ] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Search for an edit of a wrong backward after which the check passes.")
    ] = False,
    suggest_seconds: Annotated[float, typer.Option(metavar="S", help="How long --suggest and --diff search.")] = 10.0,
    diff: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the first edit that is suggested as a patch.")
    ] = None,
    triton_interpret: TritonInterpret = False,
    world: Annotated[
        int | None, typer.Option(metavar="N", help="Check a function that N ranks compute together over torch.distributed.")
    ] = None,
    placement: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=HOW", help="With --world: x=shard:0, x=partial or output=replicate; else replicated."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="With --world: the same function of whole tensors.")
    ] = None,
) -> None:
    """Check every gradient of one object, or of all that a module or the files of a folder define, on one call each.

    Of a folder, hidden folders, environments, tests, setup.py and the like are left out, which the result says.
    """
    with misuse_exits():
        results = Results(json, report or (), github)
        refuse_unwritable_files(diff)
        interpret_if(triton_interpret)
        refuse_of_ranks(world, placement=placement, reference=reference)
        if world is not None:
            refuse_beside_ranks(
                target, dtype=dtype, order=order != 1, memory_limit=memory_limit, isolate=isolate, strict=strict,
                compile=compile, suggest=suggest, diff=diff,
            )  # fmt: skip
            from gradcheck_lab.commands.check_ranks import RanksJob

            written, lying, keywords, excused = (tuple(each or ()) for each in (spec, placement, option, allow))
            on_ranks = RanksJob(
                target, world, written, lying, keywords, excused, _names(wrt), reference, seed, timeout
            )  # fmt: skip
            raise typer.Exit(_check_ranks(on_ranks, results))
        limits = limits_from(target, timeout, memory_limit, isolate)
        if ":" not in target:
            has_object_options = bool(spec or option or allow or wrt or order != 1 or suggest or diff)
            raise typer.Exit(_scan(target, has_object_options, seed, dtype, results, limits, strict, compile))
        from gradcheck_lab.commands.check import CheckJob, single_report
        from gradcheck_lab.commands.check_processes import check_in_workers
        from gradcheck_lab.render.terminal import print_report

        specs, options, allowed = (tuple(each or ()) for each in (spec, option, allow))
        job = CheckJob(target, specs, seed, dtype, options, allowed, order, _names(wrt), compiled=compile)
        if suggest or diff is not None:
            found = _check_and_suggest(job, limits, suggest_seconds)
        else:
            found = single_report(job.run() if limits is None else next(check_in_workers([job], limits)))
        print_report(found)
        if diff is not None:
            from gradcheck_lab.commands.suggest import write_patch

            typer.echo(write_patch(found, diff))
        results.write(target, [(found.subject, found)], found.to_dict())
    raise typer.Exit(EXIT_CODES[found.verdict])


@app.command()
def fuzz(
    target: Annotated[
        str, typer.Argument(metavar="MODULE[:NAME]", help="What to fuzz, as pkg.module:name, or a module for all in it.")
    ],
    examples: Annotated[
        int | None,
        typer.Option(show_default="100, or 20 with --triton-interpret", help="Calls to draw for each object."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes to run.")] = 1,
    seed: Seed = 0,
    spec: Specs = None,
    option: Options = None,
    order: Annotated[int, typer.Option(help="2 for second derivatives too.")] = 1,
    json: Json = None,
    report: Reports = None,
    github: Github = False,
    allow: Annotated[list[str] | None, typer.Option(metavar="CAUSE", help="A cause that shall not fail the run.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where failing cases go; .hypothesis/ if not given.")
    ] = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    isolate: Isolate = None,
    triton_interpret: TritonInterpret = False,
) -> None:
    """Draw calls of one object, or of all that a module defines, until one is wrong, and shrink it."""
    with misuse_exits():
        results = Results(json, report or (), github)
        interpret_if(triton_interpret)
        limits = limits_from(target, timeout, memory_limit, isolate)
        from gradcheck_lab.commands.fuzz import fuzz_targets
        from gradcheck_lab.commands.fuzz_jobs import Job, default_examples
        from gradcheck_lab.fuzzing.storage import storage
        from gradcheck_lab.render.fuzz import fuzz_lines, fuzz_summary, progress_bar
        from gradcheck_lab.render.laid_out import look_of
        from gradcheck_lab.render.terminal import new_console, print_lines

        specs, options, allowed = (tuple(each or ()) for each in (spec, option, allow))
        examples = default_examples(triton_interpret) if examples is None else examples
        if triton_interpret:
            typer.echo(f"fuzzing {target} in Triton's interpreter: up to {examples} drawn calls of some seconds each", err=True)
        job = Job(target, examples, seed, seed, specs, options, allowed, order, save or storage())
        with progress_bar(examples) as show:
            fuzzed = fuzz_targets(job, jobs, show, limits)
        console = new_console()
        print_lines(fuzz_lines(fuzzed, look_of(console)), console)
        summary = "\n".join(text for text, _ in fuzz_summary(fuzzed))
        results.write(target, list(fuzzed.reports.items()), fuzzed.to_dict(), summary)
    if fuzzed.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(EXIT_CODES[fuzzed.verdict] if fuzzed.reports else MISUSE)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A failing case that fuzz saved.")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="MODULE:NAME", help="What to check, as pkg.module:name; an op of this library needs none."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="What to compare with, where the case had a reference.")
    ] = None,
    json: Json = None,
    report: Reports = None,
    github: Github = False,
    triton_interpret: TritonInterpret = False,
) -> None:
    """Check the call in a saved file again, on what the code is now. Nothing that only the file names is imported."""
    with misuse_exits():
        results = Results(json, report or (), github)
        interpret_if(triton_interpret)
        from gradcheck_lab.commands.replay import replay_case
        from gradcheck_lab.render.terminal import print_report

        found = replay_case(file, target, reference)
        print_report(found)
        results.write(str(file), [(found.subject, found)], found.to_dict())
    raise typer.Exit(EXIT_CODES[found.verdict])


@app.command()
def judge(
    task: Annotated[Path, typer.Argument(metavar="TASK.py", help="The trusted file with reference and specs.")],
    candidate: Annotated[
        Path, typer.Argument(metavar="CANDIDATE.py", help="The file that nobody trusts, or a folder of such files.")
    ],
    examples: Annotated[int, typer.Option(help="Calls to draw in each dtype.")] = 20,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="What one call of a candidate may take.")] = 60.0,
    memory: Annotated[
        float | None, typer.Option(metavar="GIB", help="What the process of a candidate may hold of resident memory.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the calls of this seed again; unforeseeable if not given.")] = None,
    command: Annotated[
        str | None, typer.Option(metavar="'WRAPPER {}'", help="Run a candidate's process by this, with {} for the interpreter.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; of a folder a line for each.")
    ] = None,
    report: Reports = None,
    github: Github = False,
) -> None:
    """Judge code that nobody trusts: compare it with a reference that it cannot see, in a process that knows of nothing."""
    with misuse_exits():
        results = Results(json, report or (), github)
        from gradcheck_lab.commands.judge import candidates_in, is_folder_of_candidates, judge_folder, judging
        from gradcheck_lab.render.judged import judged_lines
        from gradcheck_lab.render.laid_out import look_of
        from gradcheck_lab.render.terminal import new_console, print_lines, print_report

        judged = judging(task, examples, timeout, memory, seed, command)
        if not is_folder_of_candidates(candidate):
            found = judged(candidate)
            print_report(found)
            results.write(str(candidate), [(found.subject, found)], found.to_dict())
            raise typer.Exit(EXIT_CODES[found.verdict])
        if not task.exists():
            raise InvalidArgument(f"there is no task file {task}")
        reports, interrupted = judge_folder(candidates_in(candidate, task), judged, json)
        console = new_console()
        print_lines(judged_lines(reports, look_of(console)), console)
        data = {"task": str(task), "reports": {name: each.to_dict() for name, each in reports.items()}}
        replace(results, json=None).write(str(candidate), list(reports.items()), data)
        if interrupted:
            raise typer.Exit(INTERRUPTED)
        worst = next(verdict for verdict in WORST_FIRST if verdict in [each.verdict for each in reports.values()])
    raise typer.Exit(EXIT_CODES[worst])


@app.command()
def mutate(
    target: Annotated[
        list[str], typer.Argument(metavar="MODULE:NAME", help="What to mutate; with --inject, after --, a command of pytest.")
    ],
    tests: Annotated[
        str | None, typer.Option(metavar="COMMAND", help='Its tests, as "pytest -k linear tests/"; else only check is tried.')
    ] = None,
    most: Annotated[int | None, typer.Option("--max", metavar="N", help="How many mutants, drawn by seed; else all.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="A kind of edit, as drop-sum; repeat it for several.")] = None,
    spec: Specs = None,
    seed: Seed = 0,
    dtype: Dtype = None,
    option: Options = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="What one mutant may take.")] = 120.0,
    json: Json = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the mutants as a page.")] = None,
    inject: Annotated[
        str | None,
        typer.Option(metavar="torch", help="Perturb every gradient of every rule that a suite runs: --inject torch -- pytest."),
    ] = None,
) -> None:
    """Edit a backward as people get it wrong, one edit at a time, and list what its tests, or check, do not notice."""
    with misuse_exits():
        refuse_unwritable_files(json, html)
        from gradcheck_lab.commands.mutate import inject_into, mutate_target, single_target
        from gradcheck_lab.render.mutants import mutants_lines
        from gradcheck_lab.render.terminal import print_lines

        if inject is not None:
            report = inject_into(inject, target, timeout)
        else:
            report = mutate_target(
                single_target(target), spec or (), tests=tests, kinds=kind or (), max_mutants=most, seed=seed, dtype=dtype,
                options=option or (), timeout=timeout,
            )  # fmt: skip
        print_lines(mutants_lines(report))
        write_json(json, report.to_dict())
        if html is not None:
            report.to_html(html)
    raise typer.Exit(EXIT_CODES[report.verdict])


@app.command("list")
def list_ops(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Families or ops; all if none.")] = None,
) -> None:
    """List the hand-written ops by family, with their specs and the formula of their backward."""
    with misuse_exits():
        from gradcheck_lab.commands.list_ops import chosen_families, listing_lines

        for line in listing_lines(chosen_families(names or ())):
            typer.echo(line)


def _run_demo_all(seed: int, json: Path | None, plot: Path | None, epochs: int | None) -> int:
    if plot is not None:
        raise InvalidArgument("--plot draws the training of the two digits networks; leave --all or --plot out")
    if epochs is not None:
        raise InvalidArgument(
            "--epochs is for the two digits networks, each other one has its own; leave --all or --epochs out"
        )
    from gradcheck_lab.commands.demo_networks import run_all

    done = run_all(seed=seed)
    write_json(json, done.data)
    return EXIT_CODES[done.verdict]


def _names(texts: Sequence[str] | None) -> tuple[str, ...]:
    """The names in texts such as "x,w"."""
    return tuple(name for text in texts or () for name in text.split(",") if name)


def _check_ranks(job: RanksJob, results: Results) -> int:
    from gradcheck_lab.render.terminal import print_report

    found = job.run()
    print_report(found)
    results.write(job.target, [(found.subject, found)], found.to_dict())
    return EXIT_CODES[found.verdict]


def _check_and_suggest(job: CheckJob, limits: Limits | None, seconds: float) -> Report:
    if limits is not None:
        raise InvalidArgument("--suggest runs edited code in this process; leave --isolate, --timeout and --memory-limit out")
    from gradcheck_lab.commands.check import single_report
    from gradcheck_lab.commands.suggest import Searched

    return single_report(job.run(Searched(seconds)))


def _scan(
    target: str, has_object_options: bool, seed: int, dtype: str | None, results: Results, limits: Limits | None,
    strict: bool, compiled: bool,
) -> int:  # fmt: skip
    from gradcheck_lab.commands.check_module import scan_folder, scan_module
    from gradcheck_lab.discovery.folder import is_folder
    from gradcheck_lab.render.laid_out import look_of
    from gradcheck_lab.render.scan import scan_lines, scan_summary
    from gradcheck_lab.render.terminal import new_console, print_lines

    if has_object_options:
        one = f"{Path(target) / 'file.py'}:name" if is_folder(target) else f"{target}:name"
        options = "--spec, --option, --allow, --order, --wrt, --suggest and --diff"
        raise InvalidArgument(f"{options} are for one object; write it as {one}")
    if is_folder(target):
        if limits is None:
            raise InvalidArgument("the files of a folder are checked in processes of their own; leave --no-isolate out")
        scan = scan_folder(target, seed=seed, dtype=dtype, limits=limits, compiled=compiled)
    else:
        scan = scan_module(target, seed=seed, dtype=dtype, limits=limits, compiled=compiled)
    console = new_console()
    print_lines(scan_lines(scan, look_of(console)), console)
    summary = "\n".join(text for text, _ in scan_summary(scan))
    results.write(target, list(scan.reports.items()), scan.to_dict(), summary)
    if scan.interrupted:
        return INTERRUPTED
    if strict and scan.skipped and scan.verdict == "pass":
        return EXIT_CODES["inconclusive"]
    return EXIT_CODES[scan.verdict] if scan.reports else MISUSE
