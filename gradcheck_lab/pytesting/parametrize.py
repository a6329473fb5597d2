"""`parametrize_checks`: one test for each op and promise, so that a failing test's name says which promise broke."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gradcheck_lab.errors import InvalidArgument

# pytest is imported where it is needed: this package does not depend on it
if TYPE_CHECKING:
    from gradcheck_lab.model.findings import Finding, Verdict
    from gradcheck_lab.probes.support.context import Context, Probe
    from gradcheck_lab.pytesting.marks import Placement
    from gradcheck_lab.pytesting.session import Session
    from gradcheck_lab.report import Report

Test = TypeVar("Test", bound=Callable[..., Any])
COMPARISON = "comparison"
# findings of opcheck carry its name; the probe that runs it is named otherwise
_PROBE_OF = {"opcheck": "registration"}


@dataclass(frozen=True, slots=True, eq=False)
class CheckedOp:
    """An op to check, with its inputs or specs, options of its forward, and the probes to run."""

    op: Any
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    probes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PromiseCheck:
    """The check of one promise of one op: `comparison`, or a probe's name. A test runs it with `gradcheck(check)`."""

    entry: CheckedOp
    promise: str

    @property
    def op(self) -> Any:
        """The op that the user listed."""
        return self.entry.op

    def run(self, session: Session, placement: Placement, allow: Mapping[str, str], apart: Mapping[str, Any]) -> Report:
        """Check the promise. All promises of an op share one check, so that each mistake is reported by one test.

        Raises `GradientMismatch` where the promise is broken; skips the test where it does not apply to the op.
        """
        key = (self.entry, placement, frozenset(allow), session.wrt)
        if key not in session.cache:
            session.cache[key] = self._checked(session, placement, allow, self.entry.probes, apart)
        full: Report = session.cache[key]
        report = _part_about(full, self.promise)
        running = session.current
        if running is not None:
            # that an allowed cause no longer happens is for the test of the comparison to say: it sees all findings
            running.causes.update(allow if self.promise != COMPARISON else (finding.cause for finding in full.findings))
        if self.promise != COMPARISON and not report.findings and not self._applies(session, placement, apart):
            import pytest

            passed = not full.reasons and _part_about(full, COMPARISON).verdict == "pass"
            pytest.skip("the op has nothing that this promise is about" if passed else "the op's comparison comes first")
        report.raise_if_failed()
        return report

    def _checked(
        self,
        session: Session,
        placement: Placement,
        allow: Collection[str],
        probes: Collection[str | Probe],
        apart: Mapping[str, Any],
    ) -> Report:
        from gradcheck_lab.calls.placement import placed
        from gradcheck_lab.check import check
        from gradcheck_lab.pytesting.inputs import placed_inputs, placed_op

        seed = session.settings.seed
        inputs = placed_inputs(self.entry.op, self.entry.inputs, placement, seed)
        options = placed(dict(self.entry.options), placement.device, placement.dtype)
        op = placed_op(self.entry.op, placement)
        return check(op, *inputs, options=options, probes=probes, allow=set(allow), wrt=session.wrt, seed=seed, **apart)

    def _applies(self, session: Session, placement: Placement, apart: Mapping[str, Any]) -> bool:
        """Whether the probe ran the user's code, which none does where the comparison ended early."""
        from gradcheck_lab.probes.support.running import FOR_ANY_CALL

        probed = self._checked(session, placement, (), (self.promise,), apart)
        if probed.reasons or not probed.gradients:
            return False
        if self.promise == "registration":  # opcheck runs the operator, and its runs are not counted
            return probed.kind == "custom_op"
        without = _no_probe if self.promise in FOR_ANY_CALL else _repeat_only
        key = (self.entry, placement, without, session.wrt)
        if key not in session.cache:
            session.cache[key] = self._checked(session, placement, (), (without,), apart).evaluations
        return bool(probed.evaluations != session.cache[key])


def parametrize_checks(
    entries: Sequence[Any], *, probes: Collection[str] | None = None, options: Mapping[str, Any] | None = None
) -> Callable[[Test], Test]:
    """Make one test for each op and promise of a test function that takes the fixtures `gradcheck` and `check`.

    An entry is an op with specs, or a tuple `(op, *inputs)` of tensors or specs, or a `pytest.param` of these. The
    promises are the comparison with the oracle and the `probes` (all but "compiled" by default). Ids are the op's name and the
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

    from gradcheck_lab.probes import ALL, PROBES

    if isinstance(probes, str):
        raise InvalidArgument(f"probes is a string; pass a list: probes=[{probes!r}]")
    for name in probes or ():
        if name not in PROBES:
            raise InvalidArgument(f"probes names {name!r}, which is unknown; known: {', '.join(sorted(PROBES))}")
    if isinstance(entries, str) or not isinstance(entries, Sequence) or not entries:
        raise InvalidArgument("parametrize_checks was given no ops; pass a list: @gl.parametrize_checks([relu, linear])")
    chosen = tuple(name for name in PROBES if name in (ALL if probes is None else probes))
    cases = []
    for each in entries:
        entry, name, marks = _checked_op(each, options or {}, chosen)
        for promise in (COMPARISON, *chosen):
            cases.append(pytest.param(PromiseCheck(entry, promise), id=f"{name}-{promise}", marks=marks))

    def decorate(test: Test) -> Test:
        # a test that forgets the fixture gets it too, so that it fails as one that compared nothing
        marked: Test = pytest.mark.usefixtures("gradcheck")(pytest.mark.parametrize("check", cases)(test))
        return marked

    return decorate


def _checked_op(listed: Any, options: Mapping[str, Any], probes: tuple[str, ...]) -> tuple[CheckedOp, str, Collection[Any]]:
    from gradcheck_lab.pytesting.inputs import declared_specs, name_of

    named, marks = None, ()
    if hasattr(listed, "values") and hasattr(listed, "marks"):  # pytest.param
        named, marks, listed = listed.id, listed.marks, tuple(listed.values)
        listed = listed[0] if len(listed) == 1 else listed
    # a tuple with a second function is a pair of forward and backward
    op, inputs = (listed[0], listed[1:]) if type(listed) is tuple and not any(map(callable, listed[1:])) else (listed, ())
    name = str(named or name_of(op[0] if isinstance(op, tuple) else op))
    if not inputs and not declared_specs(op):
        raise InvalidArgument(f"{name} has no specs to draw its inputs from; pass them: ({name}, real('n d'), ...)")
    return CheckedOp(op, tuple(inputs), options, probes), name, marks


def _part_about(full: Report, promise: str) -> Report:
    """The part of a report that is about one promise."""
    if promise != COMPARISON:
        mine = tuple(finding for finding in full.findings if _probe(finding) == promise)
        broken = any(finding.severity == "error" for finding in mine)
        return _of_one_piece(replace(full, findings=mine, reasons=(), verdict="fail" if broken else "pass"))
    own = {(finding.gradient, finding.op) for finding in full.findings if _probe(finding) is None}
    wrong = {(gradient.name, gradient.op) for gradient in full.gradients if gradient.verdict == "fail"}
    # where a probe explains a wrong gradient, its finding stands for that of the comparison
    mine = tuple(f for f in full.findings if _probe(f) is None or (f.gradient, f.op) in wrong - own)
    # while another promise is broken, a gradient whose findings are all allowed has the verdict "fail"; it is not the reason
    reported = {(finding.gradient, finding.op) for finding in mine}
    failed = [g for g in full.gradients if g.verdict == "fail" and g.contaminated_by is None]
    broken = any(f.severity == "error" for f in mine) or any((g.name, g.op) not in reported for g in failed)
    verdict: Verdict = "fail" if broken else "inconclusive" if full.reasons else "pass"
    return _of_one_piece(replace(full, findings=mine, verdict=verdict))


def _of_one_piece(part: Report) -> Report:
    """A part whose gradients do not contradict its verdict: those that other tests judge are no failures of this one."""
    kept = {"pass": ("pass",), "inconclusive": ("pass", "inconclusive"), "fail": ("pass", "inconclusive", "fail")}
    judged = (
        each if each.verdict in kept[part.verdict] else replace(each, verdict="pass", settled_by="another test")
        for each in part.gradients
    )
    return replace(part, gradients=tuple(judged))


def _probe(finding: Finding) -> str | None:
    """The probe whose promise a finding is about; None where that is the comparison."""
    from gradcheck_lab.probes import PROBES

    probe = _PROBE_OF.get(finding.probe, finding.probe)
    return probe if probe in PROBES else None


def _no_probe(context: Context) -> tuple[()]:
    """A probe that does nothing."""
    return ()


def _repeat_only(context: Context) -> tuple[()]:
    """A probe that only repeats the user's call, as happens before every other probe."""
    from gradcheck_lab.probes.support.repeats import is_repeatable

    is_repeatable(context)
    return ()
