"""Planted ones by name, as the rows of thresholds name them: mistakes, their sound twins, and calls that were once flagged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradcheck_lab as gl
from gradcheck_lab.errors import InvalidArgument
from tests.mistakes.catalogue import ROWS
from tests.mistakes.compared import COMPARED
from tests.random_sound.once_flagged import ONCE_FLAGGED, Flagged

# the second order has rows and tests of its own; a twin that is right to first order may have none
ELSEWHERE = frozenset({"double-backward"})

# what the explanation has to say beside the cause, where a threshold decides no more than that
WORDS = {
    "pair-three-of-six-rows": "it is 3 times the reference",
    "pair-spread-of-rows-float32": "1/std(x) of the reference",
    "pair-spread-of-rows-bfloat16": "std(x) times the reference",
    "pair-not-quite-the-spread": "another one each",
    "pair-option-under-a-root": "sqrt(var(x) + 0.01)",
    "pair-three-upstreams-float32": "the term 3.7 * grad_output",
    "pair-one-row-left-out-float32": "row 5 of x",
    "pair-extra-factor-float32": "in every element it is x times the reference",
    "pair-two-rows-doubled-float32": "right everywhere else",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A check of something planted, and what it has to say: the cause of a mistake, None for a sound one, and `words`."""

    check: Callable[[], gl.Report]
    cause: str | None
    words: str = ""

    def holds(self) -> bool:
        """Whether the mistake is caught under its cause before any other, or the sound one passes in silence."""
        try:
            report = self.check()
        except InvalidArgument:  # nothing was compared
            return False
        found = [f for f in report.findings if f.cause not in ELSEWHERE]
        if self.cause is None:
            return report.verdict == "pass" and all(f.severity == "note" for f in found)
        errors = [f for f in found if f.severity == "error"]
        named = bool(errors) and errors[0].cause == self.cause and self.words in errors[0].explanation
        return report.verdict == "fail" and named


def _once_flagged(flagged: Flagged) -> gl.Report:
    subject = flagged.subject()
    return gl.check(subject.op, *subject.inputs, options=dict(subject.options))


def _planted() -> Iterator[tuple[str, Planted]]:
    for row in ROWS:
        yield str(row), Planted(row.check_wrong, row.cause, WORDS.get(row.name, ""))
        yield f"sound {row}", Planted(row.check_sound, None)
    for name, (cause, compare) in COMPARED.items():
        yield name, Planted(compare, cause)
    for flagged in ONCE_FLAGGED:
        yield f"once flagged: {flagged.name}", Planted(lambda flagged=flagged: _once_flagged(flagged), None)


PLANTED = dict(_planted())
