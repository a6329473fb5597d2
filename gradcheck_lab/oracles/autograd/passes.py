"""The autograd oracle: the same forward with `requires_grad` on every leaf, its gradient taken at every intermediate."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.diagnosis.evidence import PartialGradient
from gradcheck_lab.model.amounts import FURTHER_SAMPLES, ROUNDING_SAMPLES
from gradcheck_lab.model.limits import LARGE_ELEMENTS
from gradcheck_lab.model.precision import is_narrow, is_wide, unit_roundoff, widened
from gradcheck_lab.model.precision.numbers import LIFTED_ROUNDINGS
from gradcheck_lab.oracles.autograd.partial_gradients import incomplete_gradients
from gradcheck_lab.oracles.autograd.recorded_graph import Graph, recorded
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding, perturb
from gradcheck_lab.oracles.autograd.written_out import WrittenOut
from gradcheck_lab.oracles.casts import Lifting, same_up_to
from gradcheck_lab.oracles.estimate import Estimate
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call, Key


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward under autograd; `gradients` by key, None where nothing flows, `calls` of a program's ops.

    `cut` are hand-written rules within it that no gradient reaches. `truth_roundoff` is the rounding of the truth itself,
    where the forward takes no wider dtype than the inputs'; else 0.
    """

    inputs: tuple[Any, ...]
    upstream: tuple[torch.Tensor, ...]
    outputs: tuple[Any, ...]
    gradients: dict[Key, torch.Tensor | None]
    calls: tuple[Call, ...]
    tracked: bool
    cut: tuple[str, ...] = ()
    truth_roundoff: float = 0.0

    def estimate(self, key: Key, dtype: torch.dtype) -> Estimate:
        """The gradient at `key` with the rounding level of `dtype`, in which this pass was run."""
        return Estimate(self.gradients.get(key), unit_roundoff(dtype), f"autograd in {str(dtype)[6:]}")


class AutogradOracle:
    """Runs the forward of a subject on `case` under autograd, in any dtype, with or without simulated rounding.

    Every pass is run once and kept for whoever asks next. `copies` says that the user's code writes to what it is given;
    `truth` is the pass that another oracle made of the same call. Unless `native_is_sound`, the run in the inputs' own dtype is
    what is in question, and no reference.
    """

    def __init__(
        self, runner: Runner, case: Case, copies: bool = False, truth: Pass | None = None, native_is_sound: bool = True
    ) -> None:
        self.runner, self.subject, self.case, self.copies = runner, runner.subject, case, copies
        self.nearby: dict[Any, dict[Key, torch.Tensor | None]] = {}  # gradients at points beside the case, by their moves
        self.neighbours: Iterable[tuple[Any, Any]] | None = None  # forwards with another choice, and their gradients
        self._passes: dict[str, Pass | None] = {} if truth is None else {"truth": truth}
        if not native_is_sound:
            self._passes["native"] = None
        self._roundings: dict[tuple[torch.dtype, bool, int], SimulatedRounding] = {}
        self._without_casts: tuple[AutogradOracle | None] | None = None

    @property
    def truth_roundoff(self) -> float:
        """The rounding of the truth itself, where the forward runs in no wider dtype than the inputs'; else 0."""
        truth = self._passes.get("truth")
        return 0.0 if truth is None else truth.truth_roundoff

    def truth(self) -> Pass:
        """The float64 (complex128) pass on the inputs as they are."""
        found = self._passes.get("truth")
        if found is None:
            found = self._passes["truth"] = self._widest()
        return found

    def without_casts(self) -> AutogradOracle | None:
        """The oracle of the same forward without its casts to narrower dtypes, in which autograd rounds as well.

        Where that is another function, the oracle of this one with the precision of its casts; None where it casts nothing
        that goes into its outputs: what a forward saves in fewer digits makes no difference to what its gradient is.
        """
        if self._without_casts is None:
            self._without_casts = (self._lifted(),)
        return self._without_casts[0]

    def _lifted(self) -> AutogradOracle | None:
        lifting, truth = Lifting(), self.truth()
        try:
            found = self.run(torch.float64, lifting)
            pairs = [(_detached(a), _detached(b)) for a, b in zip(found.outputs, truth.outputs, strict=True)]
            if all(_equal(a, b) for a, b in pairs):
                return None
            if all(same_up_to(a, b, LIFTED_ROUNDINGS.value * lifting.roundoff) for a, b in pairs):
                truth = found
        except Exception:  # it mixes dtypes that only the casts make equal
            pass
        if not lifting.roundoff:
            return None
        truth = replace(truth, truth_roundoff=max(lifting.roundoff, truth.truth_roundoff))
        return AutogradOracle(self.runner, self.case, self.copies, truth)

    def _widest(self) -> Pass:
        """In float64, or in the inputs' own dtype where the forward takes no other."""
        try:
            return self.run(torch.float64)
        except torch.OutOfMemoryError:  # of an accelerator: no fewer digits are what is needed, but another place
            raise
        except Exception:
            dtypes = {value.dtype for value in self.case.inputs if is_differentiable(value)}
            if all(is_wide(dtype) for dtype in dtypes):
                raise
            found = self.run(None)
            wide = {key: _wide(value) for key, value in found.gradients.items()}
            return replace(found, gradients=wide, truth_roundoff=max(unit_roundoff(dtype) for dtype in dtypes))

    def references(self, level: str, dtype: torch.dtype, times: int = 1) -> list[Pass]:
        """Passes that a sound implementation in `dtype` could have produced: `native` runs, or `simulated` rounding, which is
        `independent` where equal values need not be rounded alike, as terms that cancel in one formula are not in another;
        `further` are more of the simulated ones. `times` makes the simulated rounding coarser.
        """
        if level == "native":
            found = [self._try("native", None)]
            if is_narrow(dtype):
                found.append(self._try("float32", torch.float32))
        else:
            independent = level == "independent"
            name = f"{level} {dtype} {times}"
            salts = (FURTHER_SAMPLES if level == "further" else ROUNDING_SAMPLES).value
            found = [self._try(f"{name} {salt}", torch.float64, dtype, salt, independent, times) for salt in salts]
        return [each for each in found if each is not None]

    def run(
        self,
        dtype: torch.dtype | None,
        rounding: AbstractContextManager[object] | None = None,
        case: Case | None = None,
        substitute: frozenset[int] = frozenset(),
        moving: AbstractContextManager[object] | None = None,
    ) -> Pass:
        """Run forward and backward in `dtype` (None: as the inputs are), on `case` instead of the oracle's when given.

        The calls numbered in `substitute` keep their hand-written backward; the forward alone runs under `moving`. Raises what
        the forward raises.
        """
        case = case or self.case
        assert case.grad_outputs is not None
        given = copy_inputs(case.inputs) if self.copies else case.inputs
        inputs = tuple(_leaf(value, dtype) for value in given)
        if moving is not None:  # what is made of these alone stays as it is
            fixed = self.runner.subject.fixed
            inputs = tuple(v.detach() if i in fixed and is_differentiable(v) else v for i, v in enumerate(inputs))
        with torch.enable_grad(), rounding or nullcontext():
            with moving or nullcontext():
                trace = self.runner.trace(inputs, case, substitute)
            roots, upstream, everything = [], [], []
            for output, grad_output in zip(trace.outputs, case.grad_outputs, strict=True):
                matched = grad_output.to(output) if isinstance(output, torch.Tensor) else grad_output
                everything.append(matched)
                if isinstance(output, torch.Tensor) and output.requires_grad:
                    roots.append(output)
                    upstream.append(matched)
            wanted = _wanted(inputs, trace.calls)
            grads: tuple[torch.Tensor | None, ...] = (None,) * len(wanted)
            if roots and wanted:
                grads = torch.autograd.grad(roots, list(wanted.values()), upstream, allow_unused=True)
        found = dict(zip(wanted, grads, strict=True))
        return Pass(inputs, tuple(everything), trace.outputs, found, trace.calls, bool(roots), trace.cut)

    def paths(self, index: int) -> list[PartialGradient]:
        """The gradients of an input with some uses left out of a value that is used several times, in float64."""
        case = self.case
        assert case.grad_outputs is not None
        wide = torch.float64 if not self.truth_roundoff else None
        inputs = tuple(_leaf(value, wide) for value in copy_inputs(case.inputs))
        with torch.enable_grad():
            with WrittenOut() as written:
                outputs = self.runner.trace(inputs, case).outputs
            pairs = [
                (o, g.to(o)) for o, g in zip(outputs, case.grad_outputs, strict=True)
                if isinstance(o, torch.Tensor) and o.requires_grad
            ]  # fmt: skip
            roots, upstream = [o for o, _ in pairs], [g for _, g in pairs]
            found = list(incomplete_gradients(roots, upstream, inputs[index])) if pairs else []
        # steps that nobody wrote overwrite nothing
        return [replace(each, assigned=False) for each in found] if written.steps else found

    def graph(self, index: int, changed: AbstractContextManager[object]) -> Graph:
        """The forward in float64 with all that it computes and saves, run in a context that changes what it computes."""
        case = self.case
        assert case.grad_outputs is not None
        inputs = tuple(_leaf(value, torch.float64 if not self.truth_roundoff else None) for value in copy_inputs(case.inputs))
        named = {name: v for name, v in zip(self.subject.names, inputs, strict=True) if is_differentiable(v)}
        return recorded(lambda: self.runner.trace(inputs, case).outputs, named, inputs[index], case.grad_outputs, changed)

    def _try(
        self,
        name: str,
        dtype: torch.dtype | None,
        simulate: torch.dtype | None = None,
        salt: int = 0,
        independent: bool = False,
        times: int = 1,
    ) -> Pass | None:
        if name not in self._passes:
            case, rounding = self.case, None
            if simulate is not None:
                u = 4 * times * unit_roundoff(simulate)  # two samples stand for every sound order of operations
                other = self._roundings.get((simulate, independent, times))
                rounding = SimulatedRounding(
                    u, salt, long_sums=not is_narrow(simulate), independent=independent, modulus=True, other=other,
                    dtype=simulate,
                )  # fmt: skip
                self._roundings.setdefault((simulate, independent, times), rounding)
                assert case.grad_outputs is not None
                exact = self.runner.subject.fixed
                case = replace(
                    case,
                    inputs=tuple(
                        value if i in exact and _is_whole(value) else _perturbed(value, u, salt, independent)
                        for i, value in enumerate(case.inputs)
                    ),
                    grad_outputs=tuple(_perturbed(value, u, salt, independent) for value in case.grad_outputs),
                )
            try:
                self._passes[name] = self.run(dtype, rounding, case)
            except torch.OutOfMemoryError:  # without this reference a sound gradient may look wrong
                raise
            except Exception:  # a kernel that does not exist in this dtype is no reference, and no finding
                self._passes[name] = None
        return self._passes[name]


def _equal(a: Any, b: Any) -> bool:
    return not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor) or torch.equal(a.nan_to_num(), b.nan_to_num())


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _wide(value: torch.Tensor | None) -> torch.Tensor | None:
    return None if value is None else widened(value)


def _wanted(inputs: tuple[Any, ...], calls: tuple[Call, ...]) -> dict[Key, torch.Tensor]:
    wanted = {Key("input", i): v for i, v in enumerate(inputs) if isinstance(v, torch.Tensor) and v.requires_grad}
    for k, call in enumerate(calls):
        for role, values in (("value", call.outputs), ("share", call.inputs)):
            for j, value in enumerate(values):
                if isinstance(value, torch.Tensor) and value.requires_grad:
                    wanted[Key(role, k, j)] = value
    return wanted


def _leaf(value: Any, dtype: torch.dtype | None) -> Any:
    if not is_differentiable(value):
        return value
    given = value
    if dtype is not None:
        value = value.to(dtype.to_complex() if value.is_complex() else dtype)
    if value is given and value.numel() > LARGE_ELEMENTS.value:  # it may be the user's own
        value = copy_tensor(value)
    return value.detach().requires_grad_()


def _is_whole(value: Any) -> bool:
    """Whether all elements are whole numbers: those of a mask or of labels, which are compared with others, do not round."""
    return is_differentiable(value) and not value.is_complex() and bool((value == value.round()).all())


def _perturbed(value: Any, u: float, salt: int, independent: bool) -> Any:
    if not is_differentiable(value):
        return value
    return perturb(widened(value.detach()), u, salt, independent, modulus=True)
