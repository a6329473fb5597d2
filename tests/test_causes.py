"""The table of causes gives the sets of names that stood apart before."""

import importlib

from gradcheck_lab.comparison import engine
from gradcheck_lab.examination import one_finding_a_mistake as merge
from gradcheck_lab.fuzzing import examiner
from gradcheck_lab.model.causes import CAUSES, ERRORS, having
from gradcheck_lab.probes.support import derived_calls
from gradcheck_lab.probes.upstream import scalar

MODULES = [importlib.import_module(f"gradcheck_lab.probes.{name}") for name in ("second_backward", "sizes", "values")]
second_backward, sizes, values = MODULES
NEW = {"crashed", "timed-out", "memory-exceeded"}


def test_old_sets() -> None:
    from gradcheck_lab.model.causes import ROWS_OLD_ERRORS, ROWS_OLD_NOTES

    assert ERRORS - NEW == ROWS_OLD_ERRORS
    assert set(CAUSES) - NEW == ROWS_OLD_ERRORS | ROWS_OLD_NOTES
    assert having("unexplained") == merge._UNEXPLAINED
    assert having("overrules") == merge._OVERRULES
    assert having("pattern") == merge._PATTERNS
    assert having("explains") == merge._EXPLAINS
    assert having("consequence") == merge._CONSEQUENCES
    assert {n: r.probed_as for n, r in CAUSES.items() if r.probed_as} == merge._LOOKS_LIKE
    assert CAUSES["output-gradient-dropped"].compared_as == merge._DROPPED
    assert CAUSES["masked-branch"].compared_as == {"non-finite"}
    assert having("shape") == engine._MENDED == sizes._LOUD == {"missing-broadcast-sum", "wrong-shape"}
    assert having("keeps_name") == sizes._KEPT
    assert having("ties") == sizes._AT_TIES
    assert having("changes_the_call") == second_backward._WRITES
    assert CAUSES["upstream-scalarized"].compared_as == scalar._VAGUE
    assert CAUSES["tie-mass"].compared_as == values._AT_TIES
    assert having("at_values") == set(values._SUGGESTIONS)
    assert {n: CAUSES[n].fix for n in having("at_values")} == values._SUGGESTIONS
    assert having("whole_call") == derived_calls._ELSEWHERE
    assert having("dtype") == derived_calls._LANES
    assert having("sure_at_kinks") - NEW == examiner._STRUCTURAL
    # what merging asks by these relations is what it asked by sets: no further pair comes in
    found = {(r, c) for r in having("explains") for c in CAUSES[r].compared_as}
    old = {("masked-branch", "non-finite")} | {("output-gradient-dropped", c) for c in merge._DROPPED}
    assert all(c in merge._UNEXPLAINED or (r in merge._OVERRULES and c in merge._PATTERNS) for r, c in found - old)
