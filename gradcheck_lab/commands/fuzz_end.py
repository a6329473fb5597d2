"""A call that ends its process: what a run writes down before each call, and the report that names the one that did it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.commands.fuzz_job import Job, plan_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.examiner import described
from gradcheck_lab.fuzzing.plan import Plan
from gradcheck_lab.fuzzing.portable import SavedCase
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report
from gradcheck_lab.subjects import adapt
from gradcheck_lab.workers.outcome import Died, Exited

CAUSE = "crashed"


@dataclass(slots=True)
class Notes:
    """Writes down, through `write`, the call that a run makes next, as JSON; `write` says whether there was room."""

    write: Callable[[str], bool]
    plan: Plan | None = None
    _kind: str = ""
    _last: dict[str, Any] = field(default_factory=dict)

    def before(self, call: CallRecipe, probed: bool) -> None:
        """Write down a call, and whether the probes make others of it."""
        assert self.plan is not None
        self._last = {"words": described(call, self.plan.input_names(call)), "probed": probed, "case": None}
        with suppress(InvalidArgument):  # options that JSON has no word for
            self._last["case"] = SavedCase(call, self.plan.name).to_dict()
        self._put()
        if not self._kind:
            case = call.build()
            self._kind = adapt(self.plan.op, case.inputs, dict(case.options)).kind
            self._put()

    def _put(self) -> None:
        noted = self._last | {"kind": self._kind}
        if not self.write(json.dumps(noted)):
            self.write(json.dumps(noted | {"case": None}))


def report_of_end(job: Job, ended: Died | Exited, note: str, examples: int) -> Report:
    """The report of a job that ended so, when its `note` was the last, after so many `examples`."""
    noted = json.loads(note) if note else {}
    call = None if noted.get("case") is None else SavedCase.from_dict(noted["case"]).call
    finding = Finding(
        CAUSE,
        "error",
        f"{_which(noted)} {ended}",
        explanation="a call may raise an exception, but not end the process that makes it",
        suggestion="raise an exception instead; python -X faulthandler shows where it ends",
        probe="fuzz",
        exception="SystemExit" if isinstance(ended, Exited) else None,
    )
    again = None if noted.get("probed", True) else call
    return plan_of(job).of_end(finding, again, noted.get("kind") or "op", examples, _command(job))


def _which(noted: dict[str, Any]) -> str:
    if not noted:
        return "a call"
    if noted["probed"]:
        return f"a call that a probe made of the one on {noted['words']}"
    return f"the call on {noted['words']}"


def _command(job: Job) -> str:
    given = [("--spec", each) for each in job.specs] + [("--option", each) for each in job.options]
    given += [("--allow", each) for each in job.allow] + ([("--order", str(job.order))] if job.order != 1 else [])
    words = ["gradcheck-lab", "fuzz", job.target, "--examples", str(job.examples), "--seed", str(job.seed)]
    return shlex.join([*words, *(word for pair in given for word in pair)])
