"""`parametrize_checks`: one test for each op and promise, so that a failing test's name says which promise broke."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gradcheck_lab.errors import InvalidArgument

# pytest is imported where it is needed: this package does not depend on it
if TYPE_CHECKING:
    from gradcheck_lab.model.findings import Finding
    from gradcheck_lab.probes.support.context import Context, Probe
    from gradcheck_lab.pytesting.marks import Target
    from gradcheck_lab.pytesting.session import Session
    from gradcheck_lab.report import Report

Test = TypeVar("Test", bound=Callable[..., Any])
COMPARISON = "comparison"
# findings of these carry the name of the tool that made them
_PROBE_OF = {"opcheck": "registration"}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What is checked: an op, its inputs or specs, options of its forward, and by which probes."""

    op: Any
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCheck:
    """One promise to check of one op: `comparison`, or a probe's name. A test runs it with `gradcheck(check)`."""

    entry: Entry
    promise: str

    @property
    def op(self) -> Any:
        """The op, as it was given."""
        return self.entry.op

    def run(self, session: Session, target: Target, allow: Mapping[str, str]) -> Report:
        """Check the promise; all promises of an op share one check, so that each mistake is attributed once.

        Raises `GradientMismatch` unless it is kept, and skips the test where the promise is about nothing that the op has.
        """
        key = (self.entry, target, frozenset(allow))
        if key not in session.cache:
            session.cache[key] = self._checked(session, target, allow, self.entry.probes)
        whole: Report = session.cache[key]
        report = _about(whole, self.promise)
        running = session.current
        if running is not None:  # that exceptions still happen is for the comparison's test to say: it has the whole report
            running.found.update(allow if self.promise != COMPARISON else (finding.cause for finding in whole.findings))
        if self.promise != COMPARISON and not report.findings and not self._tried(session, target):
            import pytest

            settled = not whole.reasons and _about(whole, COMPARISON).verdict == "pass"
            pytest.skip("the op has nothing that this promise is about" if settled else "the op's comparison comes first")
        report.raise_if_failed()
        return report

    def _checked(self, session: Session, target: Target, allow: Collection[str], probes: Collection[str | Probe]) -> Report:
        from gradcheck_lab.check import check
        from gradcheck_lab.pytesting.inputs import drawn, placed_op
        from gradcheck_lab.pytesting.placement import placed

        seed = session.settings.seed
        inputs = drawn(self.entry.op, self.entry.inputs, target, seed)
        options = placed(dict(self.entry.options), target)
        op = placed_op(self.entry.op, target)
        return check(op, *inputs, options=options, probes=probes, allow=set(allow), seed=seed)

    def _tried(self, session: Session, target: Target) -> bool:
        """Whether the probe ran the user's code at all; none does where the comparison ended early."""
        from gradcheck_lab.probes.support.running import FOR_ANY_CALL

        alone = self._checked(session, target, (), (self.promise,))
        if alone.reasons or not alone.gradients:
            return False
        if self.promise == "registration":  # it runs the operator where nothing counts
            return alone.kind == "custom_op"
        without = _nothing if self.promise in FOR_ANY_CALL else _repeated
        key = (self.entry, target, without)
        if key not in session.cache:
            session.cache[key] = self._checked(session, target, (), (without,)).evaluations
        return bool(alone.evaluations != session.cache[key])


def parametrize_checks(
    entries: Sequence[Any], *, probes: Collection[str] | None = None, options: Mapping[str, Any] | None = None
) -> Callable[[Test], Test]:
    """Make one test for each op and promise of a test function that takes the fixtures `gradcheck` and `check`.

    An entry is an op with specs, or a tuple `(op, *inputs)` of tensors or specs, or a `pytest.param` of these. The
    promises are the comparison with the oracle and the `probes` (all of them by default). Ids are the op's name and the
    promise: `relu-comparison`, `relu-upstream_layout`. `options` go to every forward by keyword.

    Raises `InvalidArgument` for an unknown probe, no entries, and an op that has no specs and was given no inputs.
    Source of the form: scikit-learn's `parametrize_with_checks`.

    >>> from gradcheck_lab import ops
    >>> @parametrize_checks([ops.relu, ops.linear], probes=["upstream_layout"])
    ... def test_gradients(gradcheck, check):
    ...     gradcheck(check)
    >>> [case.id for case in test_gradients.pytestmark[0].args[1]][:2]
    ['relu-comparison', 'relu-upstream_layout']
    """
    import pytest

    from gradcheck_lab.probes import PROBES

    if isinstance(probes, str):
        raise InvalidArgument(f"probes is a string; pass a list: probes=[{probes!r}]")
    for name in probes or ():
        if name not in PROBES:
            raise InvalidArgument(f"probes names {name!r}, which is unknown; known: {', '.join(sorted(PROBES))}")
    if isinstance(entries, str) or not isinstance(entries, Sequence) or not entries:
        raise InvalidArgument("parametrize_checks was given no ops; pass a list: @gl.parametrize_checks([relu, linear])")
    chosen = tuple(name for name in PROBES if probes is None or name in probes)
    cases = []
    for each in entries:
        entry, name, marks = _entry(each, options or {}, chosen)
        for promise in (COMPARISON, *chosen):
            cases.append(pytest.param(PlannedCheck(entry, promise), id=f"{name}-{promise}", marks=marks))

    def decorate(test: Test) -> Test:
        # the fixture is asked for even by a test that forgets it, so that checking nothing fails
        marked: Test = pytest.mark.usefixtures("gradcheck")(pytest.mark.parametrize("check", cases)(test))
        return marked

    return decorate


def _entry(given: Any, options: Mapping[str, Any], probes: tuple[str, ...]) -> tuple[Entry, str, Collection[Any]]:
    from gradcheck_lab.pytesting.inputs import described, name_of

    named, marks = None, ()
    if hasattr(given, "values") and hasattr(given, "marks"):  # pytest.param
        named, marks, given = given.id, given.marks, tuple(given.values)
        given = given[0] if len(given) == 1 else given
    # a tuple with a second function is a pair of forward and backward
    op, inputs = (given[0], given[1:]) if type(given) is tuple and not any(map(callable, given[1:])) else (given, ())
    name = str(named or name_of(op[0] if isinstance(op, tuple) else op))
    if not inputs and not described(op):
        raise InvalidArgument(f"{name} has no specs to draw its inputs from; pass them: ({name}, real('n d'), ...)")
    return Entry(op, tuple(inputs), options, probes), name, marks


def _about(whole: Report, promise: str) -> Report:
    """The part of a report that is about one promise."""
    if promise != COMPARISON:
        mine = tuple(finding for finding in whole.findings if _probe(finding) == promise)
        broken = any(finding.severity == "error" for finding in mine)
        return replace(whole, findings=mine, reasons=(), verdict="fail" if broken else "pass")
    own = {(finding.gradient, finding.op) for finding in whole.findings if _probe(finding) is None}
    wrong = {(gradient.name, gradient.op) for gradient in whole.gradients if gradient.verdict == "fail"}
    # what a probe explains is found by both: its finding stands for the comparison's
    mine = tuple(f for f in whole.findings if _probe(f) is None or (f.gradient, f.op) in wrong - own)
    # a gradient whose findings are all allowed stays marked as wrong while another promise is broken
    told = {(finding.gradient, finding.op) for finding in mine}
    failed = [g for g in whole.gradients if g.verdict == "fail" and g.contaminated_by is None]
    broken = any(f.severity == "error" for f in mine) or any((g.name, g.op) not in told for g in failed)
    return replace(whole, findings=mine, verdict="fail" if broken else "inconclusive" if whole.reasons else "pass")


def _probe(finding: Finding) -> str | None:
    """The probe whose promise a finding is about; None where that is the comparison."""
    from gradcheck_lab.probes import PROBES

    probe = _PROBE_OF.get(finding.probe, finding.probe)
    return probe if probe in PROBES else None


def _nothing(context: Context) -> tuple[()]:
    """A probe that tries nothing."""
    return ()


def _repeated(context: Context) -> tuple[()]:
    """A probe that only repeats the base call, as comes before all others."""
    from gradcheck_lab.probes.support.repeats import is_repeatable

    is_repeatable(context)
    return ()
