"""Run every mutant of a backward against `check` and the author's tests, each in a process of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradcheck_lab.edits.applied import functions_alive
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.edits.written import written_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import Refused, apart
from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.mutants import Outcome
from gradcheck_lab.mutation.by_check import CheckCall, Noticed, mutant_of, noticed_by_check, original_of
from gradcheck_lab.mutation.by_tests import command_of, tested
from gradcheck_lab.mutation.report import MutationReport
from gradcheck_lab.mutation.runs import Tested
from gradcheck_lab.mutation.to_paste import test_to_paste
from gradcheck_lab.workers.apart import Limits, Line
from gradcheck_lab.workers.outcome import Returned

_UNTESTED: tuple[Outcome, str] = ("not run", "")
Shown = Callable[[int, int], None]  # takes the mutants that are done, and all


@dataclass(frozen=True, slots=True)
class Mutation:
    """What to mutate and how: the call of `check`, the arguments of pytest, which kinds, how many mutants, and their time."""

    call: CheckCall
    tests: tuple[str, ...] | None
    kinds: tuple[str, ...] | None
    most: int | None
    timeout: float

    def run(self, shown: Shown = lambda done, planned: None) -> MutationReport:
        """Run all mutants. Raises `InvalidArgument` where the backward or a test fails without any edit."""
        started = time.perf_counter()
        subject, name = self.call.subject, name_of(self.call.subject)
        every = edits_of(subject, [kind for kind in MISTAKES if self.kinds is None or kind.name in self.kinds])
        edits = _some(every, self.most, self.call.seed)
        original = original_of(self.call)
        found = None if self.tests is None else self._tested(self.tests, edits, name)
        among = functions_alive(edits[0].path) if edits else ()
        mutants = []
        for number, edit in enumerate(edits):
            shown(number, len(edits))
            by_check = self._apart(lambda edit=edit: noticed_by_check(original, edit, among), name)  # type: ignore[misc]
            mutants.append(mutant_of(edit, by_check, *(_UNTESTED if found is None else found.outcomes[number])))
        return MutationReport(
            original.report.subject,
            tuple(mutants),
            tests="" if self.tests is None else command_of(self.tests),
            touching=0 if found is None else found.touching,
            test=test_to_paste(self.call),
            left_out=len(every) - len(edits),
            seed=self.call.seed,
            seconds=time.perf_counter() - started,
            environment=environment(),
        )

    def _tested(self, arguments: tuple[str, ...], edits: Sequence[Edit], name: str) -> Tested:
        written = written_of(self.call.subject)

        def call(line: Line) -> Tested | Refused:
            try:
                return tested(arguments, written, edits, self.timeout)
            except InvalidArgument as error:
                return Refused(str(error))

        ended = apart(call, name, Limits(None))
        if not isinstance(ended.outcome, Returned):
            raise InvalidArgument(f"{command_of(arguments)} {ended.outcome} while it collects; run it by itself first")
        outcome: Tested = ended.outcome.value
        return outcome

    def _apart(self, call: Callable[[], Noticed], name: str) -> Noticed:
        """What came of a mutant in a process of its own; one that hangs, or ends its process, is noticed."""
        ended = apart(lambda line: call(), name, Limits(self.timeout))
        if isinstance(ended.outcome, Returned):
            noticed: Noticed = ended.outcome.value
            return noticed
        return Noticed("noticed", type(ended.outcome).__name__, f"the check {ended.outcome}")


def _some(edits: Sequence[Edit], most: int | None, seed: int) -> Sequence[Edit]:
    """At most so many of the edits, drawn by the seed, in the order of the lines."""
    if most is None or len(edits) <= most:
        return edits
    chosen = random.Random(seed).sample(range(len(edits)), most)
    return [edits[index] for index in sorted(chosen)]
