"""A failing call beside its report: as data, as Python, and as a file that `gradcheck-lab replay` reads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.case_entries import NOT_IMPORTABLE
from gradcheck_lab.fuzzing.portable import SavedCase, replay_command, write
from gradcheck_lab.fuzzing.script import Found, call_lines
from gradcheck_lab.fuzzing.storage import storage
from gradcheck_lab.fuzzing.wording import call_text
from gradcheck_lab.kernels.starting import INTERPRETED
from gradcheck_lab.model.arguments import Wrt, wrt_of
from gradcheck_lab.model.limits import LITERAL_ELEMENTS
from gradcheck_lab.model.shown import file_stem
from gradcheck_lab.probes import PROBES
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.check_call import check_line
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.subject import importable


@dataclass(frozen=True, slots=True)
class FailingCaseWriter:
    """Adds failing calls of one op to their reports, and saves them.

    `target` is where the op can be imported from, None where it cannot. Files go to `folder`; None stands for the folder of
    Hypothesis's own examples, if the user's profile keeps any. `constructor_seed` is the seed by which a class was constructed.
    """

    op: Any
    name: str
    target: str | None
    reference: Any
    order: int
    allow: Collection[str]
    constructor_seed: int
    folder: Path | None
    wrt: Wrt | None = None

    def add_to(self, report: Report, call: CallRecipe) -> Report:
        """The report with the call as its failing case, which is saved where possible."""
        names = self.input_names(call, [gradient.name for gradient in report.gradients])
        first = next((finding for finding in report.findings if finding.severity == "error"), None)
        probe = () if first is None or first.probe not in PROBES else (first.probe,)
        interpreted = INTERPRETED in report.environment
        found = Found(None if first is None else first.gradient, probe, interpreted)
        reference = None if self.reference is None else importable(self.reference) or NOT_IMPORTABLE
        case = SavedCase(
            call, self.name, self.target, reference, self.order, tuple(self.allow),
            "" if first is None else first.message, call_text(call, names),
            "\n".join(call_lines(self.op, call, names, self.target, found)),
            self.constructor_seed, wrt_of(self.wrt) or (),
        )  # fmt: skip
        try:
            data = case.to_dict()
        except InvalidArgument:  # its options cannot be written as JSON
            return replace(report, reproduce=self.line(report, call, probe))
        path = self._save(case)
        replayable = self.target is not None and reference != NOT_IMPORTABLE and not probe
        replayed = ""
        if path is not None and replayable:
            replayed = replay_command(path, self.target, reference, interpreted)
        return replace(report, failing_case=data, reproduce=replayed or self.line(report, call, probe))

    def line(self, report: Report, call: CallRecipe, probes: Collection[str] | None) -> str:
        """The line of Python that makes a call again with these probes; tensors of many elements are in the Python below."""
        if any(math.prod(tensor.shape) > LITERAL_ELEMENTS.value for tensor in call.tensors):
            return "run the Python below"
        keywords = {"options": call.options, "reference": self.reference, "order": self.order, "allow": self.allow}
        keywords |= {"wrt": self.wrt, "seed": call.seed} | ({} if probes is None else {"probes": tuple(probes)})
        return check_line(self.op, call.build().inputs, keywords, report)

    def input_names(self, call: CallRecipe, names: Sequence[str] = ()) -> list[str]:
        """A Python name for each input of a call: those of the op, else `names` where they fit, else numbered ones."""
        if isinstance(self.op, Op):
            names = list(self.op.names(len(call.tensors)))
        usable = len(names) == len(call.tensors) and all(name.isidentifier() for name in names)
        return list(names) if usable else [f"input_{index}" for index in range(len(call.tensors))]

    def _save(self, case: SavedCase) -> Path | None:
        """Write the case to a file of the folder, return its path; None where the user keeps no examples or it is read-only."""
        folder = self.folder
        if folder is None:
            from hypothesis import settings

            if settings().database is None:
                return None
            folder = storage()
        digest = hashlib.sha256(repr(case.to_dict()).encode()).hexdigest()[:8]
        path = folder / f"{file_stem(self.name)}-{digest}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(case, path)
        except OSError:  # the report has the case all the same
            return None
        here = Path.cwd()
        return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path
