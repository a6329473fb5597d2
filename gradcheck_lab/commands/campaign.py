"""The commands `gradcheck-lab campaign plan`, `run`, `status`, `merge` and `report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

# Everything that needs torch is imported inside the commands, so that --help is quick.
from gradcheck_lab.commands.exits import EXIT_CODES, misuse_exits
from gradcheck_lab.commands.options import Github, Json, MemoryLimit, Reports, Seed, Timeout, limits_from
from gradcheck_lab.commands.results import Results
from gradcheck_lab.errors import InvalidArgument

if TYPE_CHECKING:
    from gradcheck_lab.model.tally import Tally

app = typer.Typer(
    name="campaign",
    help="Many checks: planned as a list, run on one machine or several, and continued where they ended.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="What campaign plan wrote.")]
ResultFiles = Annotated[
    list[Path] | None,
    typer.Option("--results", metavar="FILE", help="Results to read, instead of all beside the manifest; repeat it."),
]


@app.command()
def plan(
    targets: Annotated[list[str], typer.Argument(metavar="MODULE_OR_FOLDER...", help="What to check, as of check.")],
    dtype: Annotated[list[str] | None, typer.Option(metavar="DTYPE", help="Dtypes to draw in; check's own if none.")] = None,
    device: Annotated[list[str] | None, typer.Option(metavar="DEVICE", help="Devices to check on; cpu if none.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Options for the forwards that take them; of one key several values."),
    ] = None,
    probes: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="all or compare, which compares one call alone; all if none.")
    ] = None,
    seed: Seed = 0,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Files and folders that the code reads, beside what it imports.")
    ] = None,
    durations: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Results of an earlier campaign: how long each case takes.")
    ] = None,
) -> None:
    """Write a manifest to standard output: a line for each case, with the hash of all that it depends on."""
    with misuse_exits():
        limits = limits_from("", timeout, memory_limit, None)
        from gradcheck_lab.campaigns.manifest import manifest_lines
        from gradcheck_lab.commands.campaign_cases import Axes, plan_cases
        from gradcheck_lab.workers.apart import Limits

        axes = Axes(dtype or (), device or (), option or (), probes or (), seed, limits or Limits(), source or ())
        planned = plan_cases(targets, axes, durations or ())
        for line in manifest_lines(planned.plan, planned.cases):
            typer.echo(line)
        for module, why in planned.refused.items():
            typer.echo(f"not planned: {module} - {why}", err=True)
    raise typer.Exit(EXIT_CODES["inconclusive" if planned.refused else "pass"])


@app.command()
def run(
    manifest: Manifest,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where results are added; else beside the manifest.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes to run; one for each core if not given.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Of N parts that take about as long, the part I.")] = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The Ray cluster; that of RAY_ADDRESS or of this machine if none.")
    ] = None,
) -> None:
    """Run the cases that have no result yet. What is killed is continued by the same command."""
    with misuse_exits():
        limits_from("", None, None, None)
        from gradcheck_lab.campaigns.manifest import read_manifest
        from gradcheck_lab.campaigns.running import Asked, local_engine, ray_engine, run_campaign
        from gradcheck_lab.campaigns.shards import read_shard
        from gradcheck_lab.commands.campaign_cases import check_case
        from gradcheck_lab.render.campaign import campaign_progress

        asked = Asked(read_manifest(manifest), None if shard is None else read_shard(shard), results)
        if engine == "ray":
            if jobs is not None:
                raise InvalidArgument("--jobs is for --engine local; a Ray cluster runs as many cases as it has cores")
            runs = ray_engine(asked, check_case, ray_address)
        else:
            if ray_address is not None:
                raise InvalidArgument("--ray-address is for --engine ray; add that, or leave it out")
            runs = local_engine(asked, check_case, _cores() if jobs is None else jobs)
        with campaign_progress(len(asked.cases)) as show:
            tally = run_campaign(asked, runs, lambda now: show(now.done, now.planned, now.verdicts["fail"], now.left))
        _print(tally)
    raise typer.Exit(EXIT_CODES[tally.verdict])


@app.command()
def status(manifest: Manifest, results: ResultFiles = None, json: Json = None) -> None:
    """Say what came of the cases so far; the last line is done/planned."""
    with misuse_exits():
        from gradcheck_lab.campaigns.manifest import read_manifest
        from gradcheck_lab.campaigns.running import tally_of
        from gradcheck_lab.commands.exits import refuse_unwritable_files, write_json

        refuse_unwritable_files(json)
        planned = read_manifest(manifest)
        tally = tally_of(planned.cases, results or planned.every_results).tally
        write_json(json, tally.to_dict())
        _print(tally)
    raise typer.Exit(EXIT_CODES[tally.verdict])


@app.command()
def merge(
    manifest: Manifest,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[RESULTS]...", help="Results of shards elsewhere.")] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where they are added; else the manifest's own results.")
    ] = None,
) -> None:
    """Bring the results of shards into one file: those beside the manifest, and those that are named."""
    with misuse_exits():
        from gradcheck_lab.campaigns.manifest import read_manifest
        from gradcheck_lab.campaigns.running import merge as merge_results
        from gradcheck_lab.campaigns.running import tally_of

        planned = read_manifest(manifest)
        into = results or planned.results
        added = merge_results(planned, [*planned.every_results, *(files or ())], into)
        tally = tally_of(planned.cases, [into]).tally
        typer.echo(f"{added} results added to {into}")
        typer.echo(f"{tally.done}/{tally.planned}")


@app.command()
def report(manifest: Manifest, results: ResultFiles = None, report: Reports = None, github: Github = False) -> None:
    """Write what came of the cases as one page, MANIFEST.html if no --report names another file."""
    with misuse_exits():
        written = Results(None, report or (manifest.with_suffix(".html"),), github)
        from gradcheck_lab.campaigns.manifest import read_manifest
        from gradcheck_lab.commands.campaign_page import page_of
        from gradcheck_lab.render.campaign import tally_lines

        planned = read_manifest(manifest)
        page = page_of(planned, results or planned.every_results)
        summary = [text for text, _ in tally_lines(page.tally)]
        if page.left_out:
            summary.append(f"{page.left_out} reports are not on this page; the files of results have them")
        written.write(manifest.name, page.reports, page.data, "\n".join(summary))
        for path in written.reports:
            typer.echo(str(path))
    raise typer.Exit(EXIT_CODES[page.tally.verdict])


def _print(tally: Tally) -> None:
    from gradcheck_lab.render.campaign import tally_lines
    from gradcheck_lab.render.terminal import print_lines

    print_lines(tally_lines(tally))


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


