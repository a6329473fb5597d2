"""The call that a run makes next, written down, and the report of a run whose process ended in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.portable import SavedCase
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.fuzzing.wording import call_text, sizes_of, which_call
from gradcheck_lab.isolation import ended_finding
from gradcheck_lab.model.places import places_of
from gradcheck_lab.report import Report
from gradcheck_lab.subjects import adapt
from gradcheck_lab.workers.outcome import Exited, LostDevice, Outcome


@dataclass(slots=True)
class CallLog:
    """Writes the next call of `run` as JSON by `write`, which returns whether there was room for the text."""

    write: Callable[[str], bool]
    run: FuzzRun | None = None
    _kind: str = ""
    _location: str = ""
    _last: dict[str, Any] = field(default_factory=dict)

    def before_call(self, call: CallRecipe, probed: bool) -> None:
        """Write a call down before it is made; `probed` where the probes derive further calls from it."""
        assert self.run is not None
        self._last = {"words": call_text(call, self.run.input_names(call)), "probed": probed, "case": None}
        with suppress(InvalidArgument):  # its options cannot be written as JSON
            self._last["case"] = SavedCase(call, self.run.name).to_dict()
        self._write_last()
        if not self._kind:  # found out after the call was written down, since it makes the call
            case = call.build()
            subject = adapt(self.run.op, case.inputs, dict(case.options))
            self._kind, self._location = subject.kind, places_of(subject.backwards())
            self._write_last()

    def _write_last(self) -> None:
        entry = self._last | {"kind": self._kind, "location": self._location}
        if not self.write(json.dumps(entry)):
            self.write(json.dumps(entry | {"case": None}))


def logged_call(text: str) -> tuple[str, set[int], bool]:
    """The call that a `CallLog` wrote last: in words, the sizes of its dimensions, and whether probes derive calls from it."""
    entry = json.loads(text)
    call = None if entry["case"] is None else SavedCase.from_dict(entry["case"]).call
    return entry["words"], set() if call is None else sizes_of(call), entry["probed"]


def ended_run_report(run: FuzzRun, outcome: Outcome, logged: str, examples: int, command: str) -> Report:
    """The report of a run whose process ended after `examples` examples; `logged` is the last text of its `CallLog`."""
    if isinstance(outcome, LostDevice):
        logged = outcome.doing or logged
    entry = json.loads(logged) if logged else {}
    call = None if entry.get("case") is None else SavedCase.from_dict(entry["case"]).call
    told = replace(outcome, doing="") if isinstance(outcome, LostDevice) else outcome  # it was a call written down
    finding = ended_finding(told, _which_call(entry), "fuzz")
    finding = replace(finding, location=finding.location or entry.get("location", ""))
    if isinstance(outcome, Exited):
        finding = replace(finding, exception="SystemExit")
    replayed = None if entry.get("probed", True) else call
    return run.crash_report(finding, replayed, entry.get("kind") or "op", examples, command)


def _which_call(entry: dict[str, Any]) -> str:
    return which_call(entry["words"], entry["probed"]) if entry else "a call"
