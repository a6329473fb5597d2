"""The report of a fuzz job whose process ended, with the command that runs it again."""

from __future__ import annotations

import shlex

from gradcheck_lab.commands.fuzz_jobs import Job, fuzz_run_of
from gradcheck_lab.fuzzing.call_log import ended_run_report
from gradcheck_lab.report import Report
from gradcheck_lab.workers.outcome import Outcome


def crash_report(job: Job, outcome: Outcome, logged: str, examples: int) -> Report:
    """The report of a job whose process ended after `examples` examples; `logged` is the last text of its `CallLog`."""
    return ended_run_report(fuzz_run_of(job), outcome, logged, examples, _command(job))


def _command(job: Job) -> str:
    pairs = [("--spec", each) for each in job.specs] + [("--option", each) for each in job.options]
    pairs += [("--allow", each) for each in job.allow] + ([("--order", str(job.order))] if job.order != 1 else [])
    words = ["gradcheck-lab", "fuzz", job.target, "--examples", str(job.examples), "--seed", str(job.seed)]
    return shlex.join([*words, *(word for pair in pairs for word in pair)])
