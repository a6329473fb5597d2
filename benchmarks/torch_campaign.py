"""torch's own databases of operators and modules as a campaign: the cases of `torch_databases.py`, planned, run and continued.

`python benchmarks/torch_campaign.py` plans a case for each operator and runs it, on this machine or, with `--engine ray`, on a
cluster. Then `gradcheck-lab campaign status FILE` and `report FILE` show what came of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the sibling files of this script, wherever it is run from

import gradcheck_lab as gl  # noqa: E402
from benchmarks.campaign import cluster  # noqa: E402
from benchmarks.torch_databases import drawn, reason_for  # noqa: E402
from benchmarks.torch_samples import Task, calls, tasks  # noqa: E402
from gradcheck_lab.campaigns.cases import Answer, Case  # noqa: E402
from gradcheck_lab.campaigns.manifest import Plan, manifest_lines, read_manifest  # noqa: E402
from gradcheck_lab.campaigns.running import Asked, local_engine, ray_engine, run_campaign  # noqa: E402
from gradcheck_lab.campaigns.sources import versions_of  # noqa: E402
from gradcheck_lab.render.campaign import campaign_progress, tally_lines  # noqa: E402


def main() -> None:
    """Plan, run, and print what did not pass and is no exception with a reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tenth", type=int, metavar="SEED", help="a tenth of the operators and modules, drawn by this seed")
    parser.add_argument("--dtypes", nargs="+", default=["float64"])
    parser.add_argument("--database", nargs="+", default=["op_db"])
    parser.add_argument("--jobs", type=int, default=1, help="workers, or nodes of one core of the cluster that is started")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that one sample may take")
    parser.add_argument("--manifest", type=Path, default=Path("torch.jsonl"))
    asked = parser.parse_args()
    cases = planned(tuple(asked.dtypes), tuple(asked.database), asked.tenth, asked.timeout)
    lines = manifest_lines(Plan({}, versions_of([])), cases)
    asked.manifest.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    campaign = Asked(read_manifest(asked.manifest))
    with cluster(asked.engine, asked.jobs) as address, campaign_progress(len(cases)) as show:
        here = address is None
        engine = local_engine(campaign, check_sample, asked.jobs) if here else ray_engine(campaign, check_sample, address)
        began = time.perf_counter()
        tally = run_campaign(campaign, engine, lambda now: show(now.done, now.planned, now.verdicts["fail"], now.left))
        seconds = time.perf_counter() - began
    for text, _ in tally_lines(tally):
        print(text)
    print(f"{len(cases)} cases on {asked.engine} with {asked.jobs} in {seconds:.0f} s; load average {os.getloadavg()[0]:.1f}")


def planned(dtypes: tuple[str, ...], databases: tuple[str, ...], tenth: int | None, timeout: float) -> list[Case]:
    """A case for the first sample of each operator and module in each dtype that it takes."""
    chosen = [task for task in tasks(dtypes, databases) if tenth is None or drawn(task.name, tenth)]
    return [Case(f"{task.database}:{task.name}", task.dtype, timeout=timeout, source=_version()) for task in chosen]


def check_sample(case: Case) -> Answer:
    """Check the sample of a case, in a worker process."""
    warnings.simplefilter("ignore")
    database, _, name = case.target.partition(":")
    try:
        _, call = next(calls(Task(database, name, case.dtype or "float64"), 1))
    except Exception as error:  # torch's own sample function raised
        return Answer(None, f"no samples: {error}"[:200])
    try:
        report = gl.check(call.subject, *call.inputs, options=call.options)
    except gl.InvalidArgument as error:
        return Answer(None, str(error))
    reason = reason_for({"name": name, "dtype": case.dtype, "outcome": report.verdict})
    return Answer(None, f"an exception: {reason}") if reason and report.verdict != "pass" else Answer(report)


def _version() -> str:
    return " ".join(versions_of([]).values())


if __name__ == "__main__":
    from benchmarks.torch_campaign import main as importable  # workers find `check_sample` by the name of this module

    importable()
