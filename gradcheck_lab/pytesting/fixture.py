"""The fixture `gradcheck`: the verbs, bound to the device, dtype, seed and exceptions of the test that is running."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.pytesting.marks import Target
from gradcheck_lab.pytesting.planned import PlannedCheck
from gradcheck_lab.pytesting.session import Session
from gradcheck_lab.specs import Spec

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
        from gradcheck_lab.fuzz import Plan, fuzz
        from gradcheck_lab.targets import DTYPES

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


def placed_op(op: Any, target: Target) -> Any:
    """A module in the target's dtype and on its device; any other op itself."""
    from gradcheck_lab.pytesting.placement import placed

    return op if isinstance(op, tuple) else placed(op, target)


def drawn(op: Any, inputs: Sequence[Any], target: Target, seed: int) -> tuple[Any, ...]:
    """The inputs of a call where the target wants them: those given, or drawn from specs.

    Raises `InvalidArgument` for specs mixed with tensors.
    """
    from gradcheck_lab.case import ordinary_call
    from gradcheck_lab.pytesting.placement import placed
    from gradcheck_lab.targets import DTYPES

    specs = tuple(inputs) or described(op)
    are_specs = [isinstance(value, Spec) for value in specs]
    if any(are_specs) and not all(are_specs):
        raise InvalidArgument("specs and tensors are mixed; pass a spec for every input, or a tensor for every one")
    dtype = DTYPES[target.dtype or "float64"]
    values = ordinary_call(op, specs, seed, dtype=dtype).inputs if any(are_specs) else tuple(inputs)
    return tuple(placed(value, target) for value in values)


def described(op: Any) -> tuple[Spec, ...]:
    """The specs that an op carries, or that its module or annotations give it; empty where there are none."""
    from gradcheck_lab.described import specs_of

    return specs_of(op, str(getattr(op, "__module__", "")), name_of(op))


def name_of(op: Any) -> str:
    """What an op is called: its name, else its function's or class's."""
    own = getattr(op, "name", None)  # a Function's is a method
    return own if isinstance(own, str) else str(getattr(op, "__name__", type(op).__name__))
