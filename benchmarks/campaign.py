"""What a campaign costs beside its checks: two workers against one, the overhead of a case, and memory over 10,000 cases.

`python benchmarks/campaign.py` measures on this machine, `--engine ray` on a Ray cluster that it starts here, of one node of
one core and then of two. `--probes all` makes the checks longer. Nothing is asserted: it prints ratios and seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this package and the sibling files of this script, wherever it is run from

from gradcheck_lab import Report  # noqa: E402
from gradcheck_lab.campaigns.cases import Answer, Case, CheckCase, Probing  # noqa: E402
from gradcheck_lab.campaigns.manifest import Manifest, Plan  # noqa: E402
from gradcheck_lab.campaigns.progress import Progress  # noqa: E402
from gradcheck_lab.campaigns.results import results_in  # noqa: E402
from gradcheck_lab.campaigns.running import Asked, local_engine, ray_engine, run_campaign  # noqa: E402
from gradcheck_lab.commands.campaign_cases import check_case  # noqa: E402
from gradcheck_lab.ops import __all__ as ops  # noqa: E402

WARM_UP = 20  # cases after which every worker has imported what it needs


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--checks", type=int, default=500, help="checks for the scaling")
    parser.add_argument("--cases", type=int, default=10_000, help="tiny cases for the memory; 0 for none")
    parser.add_argument("--probes", choices=("all", "compare"), default="compare")
    parser.add_argument("--rounds", type=int, default=1, help="how often one and two workers are measured, in turn")
    asked = parser.parse_args()
    cases = checks(asked.checks, asked.probes)
    for _ in range(asked.rounds):
        one, two = (timed(cases, asked.engine, workers) for workers in (1, 2))
        print(f"{len(cases)} checks ({asked.probes}) on {asked.engine}: 1 worker {one:.1f} s, 2 workers {two:.1f} s, "
              f"{one / two:.2f} times as fast; load average {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    if asked.cases and asked.engine == "local":
        memory(asked.cases)


def checks(count: int, probes: Probing) -> list[Case]:
    """As many checks of the ops of this package, each with seeds of its own."""
    names = [name for name in ops if name != "FAMILIES"]
    return [Case(f"gradcheck_lab.ops:{names[k % len(names)]}", probes=probes, seed=k // len(names)) for k in range(count)]


def instant(case: Case) -> Answer:
    """A check that takes no time."""
    return Answer(Report("pass", case.target, "op", (), (), "none"))


def timed(cases: list[Case], engine: str, workers: int) -> float:
    """The seconds from the first results on, when all workers run, to the last; prints the overhead of a case as well."""
    moments: list[float] = []
    processor: list[float] = []
    own: list[float] = []

    def look(now: Progress) -> None:
        if now.done in (WARM_UP, len(cases)):
            own.append(time.process_time())
            processor.append(time.process_time() + sum(map(processor_seconds, descendants(os.getpid()))))
        moments.append(time.perf_counter())

    with planned(cases) as manifest, cluster(engine, workers) as address:
        run(manifest, check_case, workers, look, address)
        spent = [result.seconds for result, _ in results_in([manifest.results])][WARM_UP:]
    wall = moments[-1] - moments[WARM_UP]
    mine = (own[1] - own[0]) / len(spent)
    beside = (wall * workers - sum(spent)) / len(spent)
    print(f"  {workers} worker{'s' * (workers > 1)}: {wall:.1f} s of {sum(spent):.1f} s of checks; beside the check a case "
          f"takes {beside * 1e3:.1f} ms of a worker, and {mine * 1e3:.1f} ms of this process", flush=True)  # fmt: skip
    if engine == "local":
        print(f"  {processor[-1] - processor[0]:.1f} s of processors, of this process and its workers", flush=True)
    return wall


def memory(count: int) -> None:
    """Print the memory of this process and of its workers as tiny cases pass."""
    shown: list[str] = []

    def look(now: Progress) -> None:
        if now.done % (count // 10) == 0 and now.done:
            mine, theirs = resident(os.getpid()), [resident(pid) for pid in descendants(os.getpid())]
            shown.append(f"{now.done}: {mine:.0f} and {max(theirs, default=0):.0f}")

    with planned([Case(f"m:{k}") for k in range(count)]) as manifest:
        began = time.perf_counter()
        run(manifest, instant, 2, look, None)
        seconds = time.perf_counter() - began
    print(f"memory in MiB of this process, and of its largest worker, after so many cases:\n  {'; '.join(shown)}")
    print(f"{count} cases in {seconds:.0f} s: {seconds / count * 1e3:.1f} ms a case with 2 workers", flush=True)


def run(manifest: Manifest, check: CheckCase, workers: int, look: Any, address: str | None) -> None:
    """Run a manifest on this machine, or on the cluster at an address."""
    asked = Asked(manifest)
    engine = local_engine(asked, check, workers) if address is None else ray_engine(asked, check, address)
    run_campaign(asked, engine, look)


@contextmanager
def planned(cases: list[Case]) -> Iterator[Manifest]:
    """A manifest of these cases in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield Manifest(Path(folder) / "campaign.jsonl", Plan({}, {}), tuple(cases))
        finally:
            os.chdir(before)


@contextmanager
def cluster(engine: str, nodes: int) -> Iterator[str | None]:
    """A Ray cluster of so many nodes of one core on this machine, and a head without any; its address, None for no cluster."""
    if engine == "local":
        yield None
        return
    import ray
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = str(ROOT)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(nodes):
        made.add_node(num_cpus=1)
    try:
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


def descendants(pid: int) -> list[int]:
    """The processes that a process started, directly or through others."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except OSError:  # it has just ended
        pass
    return found


def processor_seconds(pid: int) -> float:
    """The seconds of a processor that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """The MiB of memory that a process holds alone: what it shares with the server that it was forked from does not count."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    from benchmarks.campaign import main as importable  # workers find `instant` by the name of this module

    importable()
