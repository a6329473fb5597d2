"""The fixture `gradcheck`: the verbs, bound to the device, dtype, seed and exceptions of the test that is running."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradcheck_lab.pytesting.inputs import drawn, placed_op
from gradcheck_lab.pytesting.marks import Target
from gradcheck_lab.pytesting.planned import PlannedCheck
from gradcheck_lab.pytesting.session import Session

if TYPE_CHECKING:
    import torch

    from gradcheck_lab.report import Report


class Gradcheck:
    """`gradcheck(op, *inputs)` asserts the gradients of a call, `gradcheck.fuzz(op, *specs)` those of drawn calls.

    Both take the arguments of `gradcheck_lab.check` and `gradcheck_lab.fuzz`. Tensors, and the parameters of a module, are
    moved to the test's device and dtype first; where neither an option nor a marker names one, they stay as they are. In the
    place of tensors stand specs, or nothing for an op that has its own: the inputs are then drawn by the seed.

    >>> from gradcheck_lab import ops
    >>> from gradcheck_lab.pytesting.settings import Settings
    >>> gradcheck = Gradcheck(Session(Settings(dtypes=("float32",), seed=3)))
    >>> gradcheck(ops.relu).gradients[0].dtype
    'float32'
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def seed(self) -> int:
        """The seed of `--gradcheck-seed`."""
        return self._session.settings.seed

    @property
    def device(self) -> str:
        """The device of this test, such as "cpu"."""
        return self._target.device or "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of this test; float64 where none was asked for."""
        import torch

        found: torch.dtype = getattr(torch, self._target.dtype or "float64")
        return found

    def __call__(self, op: Any, *inputs: Any, **arguments: Any) -> Report:
        """Check `op` on `inputs` and return the report; raise `GradientMismatch` unless it passes.

        `op` may be what `parametrize_checks` gives a test as `check`.
        """
        from gradcheck_lab.check import assert_gradients

        if isinstance(op, PlannedCheck):
            return op.run(self._session, self._target, self._allow)
        keywords = self._keywords(arguments)
        return assert_gradients(placed_op(op, self._target), *drawn(op, inputs, self._target, keywords["seed"]), **keywords)

    def fuzz(self, op: Any, *specs: Any, **arguments: Any) -> Report:
        """Fuzz `op` and return the report; raise `GradientMismatch` unless it passes.

        Calls are drawn in the test's dtype and on its device; where neither an option nor a marker names a dtype, in those that
        the forward takes.
        """
        from gradcheck_lab.discovery.targets import DTYPES
        from gradcheck_lab.fuzz import fuzz
        from gradcheck_lab.fuzzing.plan import Plan

        target, keywords = self._target, self._keywords(arguments)
        if self._session.settings.examples is not None:
            keywords.setdefault("max_examples", self._session.settings.examples)
        inspect.signature(fuzz).bind(op, *specs, **keywords)
        dtypes = (DTYPES[target.dtype],) if target.dtype is not None else ()
        report = Plan(placed_op(op, target), specs, **keywords, dtypes=dtypes, device=target.device or "cpu").run()
        report.raise_if_failed()
        return report

    @property
    def _target(self) -> Target:
        running, settings = self._session.current, self._session.settings
        if running is not None and running.plan is not None:
            return running.plan.target
        return Target(next(iter(settings.devices), None), next(iter(settings.dtypes), None))

    @property
    def _allow(self) -> dict[str, str]:
        running = self._session.current
        return {} if running is None or running.plan is None else running.plan.allow

    def _keywords(self, given: Mapping[str, Any]) -> dict[str, Any]:
        from gradcheck_lab.pytesting.placement import placed

        keywords = {"seed": self.seed, **given}
        if self._allow:
            keywords["allow"] = {*keywords.get("allow", ()), *self._allow}
        for name in ("options", "grad_output"):
            if name in keywords:
                keywords[name] = placed(keywords[name], self._target)
        return keywords
