"""A campaign that runs: what has a result is skipped, and each result is on the disk before it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gradcheck_lab.calls.placement import available
from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.local import run_locally
from gradcheck_lab.campaigns.manifest import Manifest
from gradcheck_lab.campaigns.on_ray import run_on_ray
from gradcheck_lab.campaigns.progress import Progress, progress_of
from gradcheck_lab.campaigns.results import ResultsFile, line_of, results_in, results_of
from gradcheck_lab.campaigns.shards import expected_seconds, shard
from gradcheck_lab.campaigns.sources import refuse_changed
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.tally import Tally, reason_of

Engine = Callable[[Sequence[Case]], Iterator[Finished]]  # yields each case as it ends, in any order
Show = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a manifest is to be run, and where its results go; `shard` is (1, 4) for the first of four."""

    manifest: Manifest
    shard: tuple[int, int] | None = None
    results: Path | None = None

    @property
    def cases(self) -> Sequence[Case]:
        """The cases that are asked for, in the order of the plan."""
        return self.manifest.cases if self.shard is None else shard(self.manifest.cases, *self.shard)

    @property
    def path(self) -> Path:
        """The file that results are added to."""
        if self.results is not None:
            return self.results
        return self.manifest.results if self.shard is None else self.manifest.shard_results(*self.shard)

    @property
    def known(self) -> list[Path]:
        """The files of results that say what is done: the one that is named, else all beside the manifest."""
        if self.results is None:
            return self.manifest.every_results
        return [self.results] if self.results.exists() else []


def run_campaign(asked: Asked, engine: Engine, show: Show = lambda progress: None) -> Tally:
    """Run the cases that have no result yet, the longest first, and return the counts of all that are asked for.

    `show` gets the progress at first and after each case. Raises `InvalidArgument` for a file of results that cannot be
    written, and as the engine does.
    """
    cases = asked.cases
    with ResultsFile(asked.path) as file:
        tally = tally_of(cases, asked.known)
        waiting = _longest_first([case for case in cases if case.key not in tally.keys])
        progress = progress_of(len(cases), waiting)
        show(progress)
        if waiting:
            with closing(engine(waiting)) as ended:  # type: ignore[type-var]
                for finished in ended:
                    file.add(line_of(finished))
                    tally.add_finished(finished)
                    progress.count(finished)
                    show(progress)
    return tally.tally


@dataclass(slots=True)
class Counted:
    """The counts, and the keys of the cases that have a result."""

    tally: Tally
    keys: set[str]

    def add_finished(self, finished: Finished) -> None:
        """Count a case that has just ended."""
        why = "" if finished.verdict == "pass" else reason_of(finished.report, finished.why)
        self.tally.add(finished.case.name, finished.verdict, finished.seconds, why)


def tally_of(cases: Sequence[Case], paths: Iterable[Path]) -> Counted:
    """What the files have of these cases."""
    counted = Counted(Tally(len(cases)), set())
    for result, _ in results_of(cases, paths):
        counted.keys.add(result.key)
        counted.tally.add(result.name, result.verdict, result.seconds, result.reason)
    return counted


def local_engine(asked: Asked, check: CheckCase, jobs: int) -> Engine:
    """The engine of this machine. Raises `InvalidArgument` where the plan is not of what is here."""
    if jobs < 1:
        raise InvalidArgument(f"jobs is {jobs}; pass 1 or more")
    refuse_changed(asked.manifest.plan.files, asked.manifest.plan.versions)
    for device in sorted({case.device for case in asked.cases}):
        if not available(device):
            raise InvalidArgument(f"there is no {device} here; plan without --device {device}, or run where there is one")
    return lambda cases: run_locally(cases, check, jobs)


def ray_engine(asked: Asked, check: CheckCase, address: str | None) -> Engine:
    """The engine of a Ray cluster, whose nodes look at the plan themselves."""
    return lambda cases: run_on_ray(cases, check, asked.manifest.plan, address, [asked.path, *asked.known])


def merge(manifest: Manifest, paths: Sequence[Path], into: Path) -> int:
    """Add to a file the results of this manifest that other files have and it has not; return how many there were."""
    with ResultsFile(into) as file:
        have = {result.key for result, _ in results_in([into])}
        added = 0
        for result, line in results_of(manifest.cases, paths):
            if result.key not in have:
                file.add(line)
                added += 1
    return added


def _longest_first(cases: Sequence[Case]) -> list[Case]:
    """The cases with those first that took longest before, so that no long one is left for the end; else as planned."""
    seconds = expected_seconds(cases)
    return [cases[k] for k in sorted(range(len(cases)), key=lambda k: -seconds[k])]
