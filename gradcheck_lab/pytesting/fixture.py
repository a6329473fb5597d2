"""The fixture `gradcheck`: `check` and `fuzz` with the device, dtype, seed and allowed causes of the running test."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck_lab.pytesting.inputs import placed_inputs, placed_op
from gradcheck_lab.pytesting.marks import Placement
from gradcheck_lab.pytesting.parametrize import PromiseCheck
from gradcheck_lab.pytesting.session import Session

if TYPE_CHECKING:
    import torch

    from gradcheck_lab.report import Report


class Gradcheck:
    """`gradcheck(op, *inputs)` asserts the gradients of a call, `gradcheck.fuzz(op, *specs)` those of drawn calls.

    Both take the arguments of `gradcheck_lab.check` and `gradcheck_lab.fuzz`. Tensors, and the parameters of a module, are
    moved to the test's device and dtype first; where neither an option nor a marker names one, they stay as they are. Where a
    test passes specs instead of tensors, or nothing for an op that declares specs, the inputs are drawn by the seed.

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
        return self._placement.device or "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of this test; float64 where none was asked for."""
        import torch

        found: torch.dtype = getattr(torch, self._placement.dtype or "float64")
        return found

    def __call__(self, op: Any, *inputs: Any, **arguments: Any) -> Report:
        """Check `op` on `inputs` and return the report; raise `GradientMismatch` unless it passes.

        `op` may be what `parametrize_checks` gives a test as `check`.
        """
        from gradcheck_lab.check import assert_gradients

        if isinstance(op, PromiseCheck):
            return op.run(self._session, self._placement, self._allow, self._apart)
        keywords = self._keywords(arguments)
        placement = self._placement
        tensors = placed_inputs(op, inputs, placement, keywords["seed"])
        return assert_gradients(placed_op(op, placement), *tensors, **keywords)

    def fuzz(self, op: Any, *specs: Any, **arguments: Any) -> Report:
        """Fuzz `op` and return the report; raise `GradientMismatch` unless it passes.

        Calls are drawn in the test's dtype and on its device; where neither an option nor a marker names a dtype, in those that
        the forward takes.
        """
        from gradcheck_lab.discovery.targets import DTYPES
        from gradcheck_lab.fuzz import fuzz
        from gradcheck_lab.fuzzing.apart import fuzz_apart
        from gradcheck_lab.fuzzing.run import FuzzRun
        from gradcheck_lab.isolation import limits_of
        from gradcheck_lab.model.arguments import refuse_unknown

        placement, keywords = self._placement, self._keywords(arguments)
        if self._session.settings.examples is not None:
            keywords.setdefault("max_examples", self._session.settings.examples)
        known = inspect.signature(fuzz).parameters
        refuse_unknown("fuzz", {n: v for n, v in keywords.items() if n not in known}, keywords.get("options"))
        inspect.signature(fuzz).bind(op, *specs, **keywords)
        dtypes = (DTYPES[placement.dtype],) if placement.dtype is not None else ()
        limits = limits_of(*(keywords.pop(name, None) for name in ("isolate", "timeout", "memory_limit")))
        make = partial(FuzzRun, placed_op(op, placement), specs, **keywords, dtypes=dtypes, device=placement.device or "cpu")
        report = make().run() if limits is None else fuzz_apart(make, limits)
        report.raise_if_failed()
        return report

    @property
    def _placement(self) -> Placement:
        running, settings = self._session.current, self._session.settings
        if running is not None and running.settings is not None:
            return running.settings.placement
        return Placement(next(iter(settings.devices), None), next(iter(settings.dtypes), None))

    @property
    def _allow(self) -> dict[str, str]:
        running = self._session.current
        return {} if running is None or running.settings is None else running.settings.allow

    @property
    def _apart(self) -> dict[str, Any]:
        running = self._session.current
        return {} if running is None or running.settings is None else running.settings.apart

    def _keywords(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from gradcheck_lab.calls.placement import placed

        keywords = {"seed": self.seed, **self._apart, **arguments}
        if self._allow:
            keywords["allow"] = {*keywords.get("allow", ()), *self._allow}
        if self._session.wrt is not None:
            keywords.setdefault("wrt", self._session.wrt)
        for name in ("options", "grad_output"):
            if name in keywords:
                keywords[name] = placed(keywords[name], self._placement.device, self._placement.dtype)
        return keywords
