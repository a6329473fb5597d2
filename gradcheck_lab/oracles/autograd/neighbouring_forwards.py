"""Forwards that differ from the user's in one choice: an epsilon, where it stands, the variance's divisor, an approximation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradcheck_lab.diagnosis.evidence import Variation
from gradcheck_lab.model.amounts import USUAL_EPSILONS
from gradcheck_lab.model.precision.patterns import LARGEST_EPSILON
from gradcheck_lab.oracles.autograd.approximations import approximations
from gradcheck_lab.oracles.autograd.written_out import WrittenOut
from gradcheck_lab.subjects.subject import Key

Gradients = dict[Key, torch.Tensor | None]
Run = Callable[[AbstractContextManager[object]], Gradients]
Neighbouring = tuple[Variation, Gradients]
_ADDS = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__"})
_BOUNDS = frozenset({"clamp", "clamp_min"})
_SAME_EPSILON = "use the same epsilon, in the same place, in forward and backward"


@dataclass(slots=True)
class Call:
    """One call of a function of torch."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        return str(getattr(self.func, "__name__", ""))

    def run(self) -> Any:
        return self.func(*self.args, **self.kwargs)


class Neighbour(TorchFunctionMode):
    """Runs a forward with `change` in the place of the calls that it answers; `changed` says whether there was any."""

    def __init__(self, change: Callable[[Call], Any]) -> None:
        super().__init__()
        self.change, self.changed = change, False

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Change one call."""
        call = Call(func, args, dict(kwargs or {}))
        found = self.change(call)
        if found is None:
            return call.run()
        self.changed = True
        return found


def neighbours(run: Run) -> Iterator[Neighbouring]:
    """Neighbouring forwards and the gradients of all inputs there; `run` runs the forward in a context."""
    for to in (0.0, *USUAL_EPSILONS.value):
        epsilon = _Epsilon(to)
        found = _run(run, epsilon.change)
        if found is not None and len(epsilon.was) == 1 and to not in epsilon.was:
            (was,) = epsilon.was
            place = f"an epsilon of {to:g}" if to else "no epsilon, or one too small to matter,"
            sentence = f"it is the gradient of a forward with {place} in the place of {was:g}"
            yield Variation("epsilon-mismatch", sentence, _SAME_EPSILON, (f"{to:g}", f"{was:g}"), exact=False), found
    sentence = "it is the gradient of a forward with its epsilon on the other side of the root"
    yield from _named(_run(run, _BesideRoot().change), "epsilon-mismatch", sentence, _SAME_EPSILON)
    sentence = "it is the gradient of a forward with the variance divided by {} in the place of {}"
    divisor = _Divisor()
    found = _run(run, divisor.change, written_out=True)
    yield from _named(found, "wrong-operand", sentence.format(*divisor.words), "divide as the forward does")
    sentence = "it is the gradient of gelu in its other form: one of exact and approximate='tanh'"
    fix = "differentiate the form that the forward has"
    yield from _named(_run(run, _other_gelu), "epsilon-mismatch", sentence, fix)
    for name in ("erf", "tanh", "sigmoid", "gelu"):
        for own, other, function in approximations(name):
            change = _Approximated(name, function)
            sentence = f"it is the gradient of a forward with {other} that approximates {own} in the place of it"
            yield from _named(_run(run, change.change), "epsilon-mismatch", sentence, fix)


def _named(found: Gradients | None, cause: str, sentence: str, fix: str) -> Iterator[Neighbouring]:
    if found is not None:
        yield Variation(cause, sentence, fix, (sentence,)), found


def _run(run: Run, change: Callable[[Call], Any], written_out: bool = False) -> Gradients | None:
    """The gradients of a forward that is changed; None where there is nothing to change, or it does not run."""
    mode = Neighbour(change)
    try:
        found = run(_both(mode) if written_out else mode)
    except Exception:  # the forward does not take the change
        return None
    return found if mode.changed else None


@contextmanager
def _both(mode: Neighbour) -> Iterator[None]:
    """The mode, and functions written out in steps that it sees."""
    with mode, WrittenOut():
        yield


@dataclass(slots=True)
class _Epsilon:
    """Every small number that is added, or is a bound or an `eps`, is `to`; `was` are the numbers that they were."""

    to: float
    was: set[float] = field(default_factory=set)

    def change(self, call: Call) -> Any:
        if call.name in _ADDS and len(call.args) == 2 and any(map(_is_small, call.args)):
            call.args = tuple(self._new(value) if _is_small(value) else value for value in call.args)
            return call.run()
        if call.name in _BOUNDS and any(map(_is_small, [*call.args[1:], *call.kwargs.values()])):
            call.args = (*call.args[:1], *(self._new(v) if _is_small(v) else v for v in call.args[1:]))
            call.kwargs = {key: self._new(v) if _is_small(v) else v for key, v in call.kwargs.items()}
            return call.run()
        bound = _with_defaults(call)
        if bound is None or not _is_small(bound.arguments.get("eps")):
            return None
        bound.arguments["eps"] = self._new(bound.arguments["eps"])
        return call.func(*bound.args, **bound.kwargs)

    def _new(self, value: float | torch.Tensor) -> float | torch.Tensor:
        self.was.add(float(value))
        return torch.full_like(value, self.to) if isinstance(value, torch.Tensor) else self.to


def _with_defaults(call: Call) -> inspect.BoundArguments | None:
    if not inspect.isfunction(call.func):
        return None
    try:
        bound = inspect.signature(call.func).bind(*call.args, **call.kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    return bound


def _is_small(value: Any) -> bool:
    if isinstance(value, torch.Tensor) and not value.ndim and value.is_floating_point() and not value.requires_grad:
        value = float(value)  # a number that a traced NumPy forward made an array of
    return isinstance(value, float) and 0 < value < LARGEST_EPSILON.value


@dataclass(slots=True)
class _BesideRoot:
    """sqrt(v) + eps for sqrt(v + eps), and the reverse."""

    inside: dict[int, tuple[torch.Tensor, torch.Tensor, float]] = field(default_factory=dict)
    roots: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def change(self, call: Call) -> Any:
        value = next((v for v in call.args if isinstance(v, torch.Tensor)), None)
        if value is None:
            return None
        if call.name in _ADDS and any(map(_is_small, call.args)):
            (small,) = [v for v in call.args if _is_small(v)]
            if id(value) in self.roots:
                return (self.roots[id(value)][1] + small).sqrt()
            result = call.run()
            self.inside[id(result)] = result, value, small
            return result
        if call.name == "sqrt":
            if id(value) in self.inside:
                _, before, small = self.inside[id(value)]
                return before.sqrt() + small
            result = call.run()
            self.roots[id(result)] = result, value
            return result
        return None


@dataclass(slots=True)
class _Divisor:
    """A variance divided by n where it is by n - 1, and the reverse."""

    words: tuple[str, str] = ("n - 1", "n")

    def change(self, call: Call) -> Any:
        value = call.args[0] if call.args and isinstance(call.args[0], torch.Tensor) else None
        if value is None or call.name not in ("var", "std", "mean") or not value.requires_grad:
            return None
        if call.name == "mean" and not _is_square(value):
            return None
        result = call.run()
        n = value.numel() // max(1, result.numel())
        if n < 2:
            return None
        biased = call.name == "mean" or _is_biased(call)
        self.words = ("n - 1", "n") if biased else ("n", "n - 1")
        ratio = n / (n - 1) if biased else (n - 1) / n
        return result * (ratio if call.name != "std" else ratio**0.5)


def _is_square(value: torch.Tensor) -> bool:
    return value.grad_fn is not None and value.grad_fn.name().startswith(("Pow", "Mul"))


def _is_biased(call: Call) -> bool:
    given = call.kwargs.get("unbiased", call.args[2] if len(call.args) > 2 else None)
    return call.kwargs.get("correction") == 0 or given is False


@dataclass(frozen=True, slots=True)
class _Approximated:
    """One function for another, of which it is an approximation."""

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]

    def change(self, call: Call) -> Any:
        if call.name.removeprefix("special_").replace("expit", "sigmoid") != self.name or len(call.args) != 1:
            return None
        return self.function(call.args[0]) if isinstance(call.args[0], torch.Tensor) else None


def _other_gelu(call: Call) -> Any:
    if call.name != "gelu":
        return None
    form = call.kwargs.get("approximate", "none")
    return torch.nn.functional.gelu(call.args[0], approximate="tanh" if form == "none" else "none")
