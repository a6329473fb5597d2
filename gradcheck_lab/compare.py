"""The verb `compare`: gradients that somebody already has, such as those of a notebook."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.tensor_kinds import is_sparse, what_else
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.findings import wrong_finding
from gradcheck_lab.comparison.gradient import Comparison, compare_gradient, result_of
from gradcheck_lab.comparison.notebook import hand_made
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence, PartialGradient, explain
from gradcheck_lab.diagnosis.fan_out import missing_uses
from gradcheck_lab.diagnosis.retained_graph import RetainedGraph, incomplete_gradients
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import Wrt, reading, wanted_of, wrt_of
from gradcheck_lab.model.coverage import COMPARED, Coverage
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import verdict_of
from gradcheck_lab.model.limits import FEW_SIZES
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, wide_dtype
from gradcheck_lab.model.precision.budget import AGREE, AGREE_16_BITS, DIFFER, DIFFER_16_BITS
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.report import Report


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    manual: Any
    reference: torch.Tensor | None
    reason: str | None = None
    where: str | None = None
    tensor: torch.Tensor | None = None


def compare(manual: Any, reference: Any = None, wrt: Wrt | None = None) -> Report:
    """Compare finished gradients: `manual` with `reference`, tensors, arrays, or mappings or sequences of them.

    A reference that requires grad stands for its own `.grad`. Given one mapping alone, such as `globals()` of a notebook,
    every gradient made by hand, `X.grad_`, `dX`, `d_X`, `grad_X`, `X_grad`, `gX` or `grads["X"]`, is compared with the
    `.grad` of the tensor `X`; an intermediate keeps that after `X.retain_grad()`. `wrt` names the gradients that are wanted, or
    gives their positions; the others are left out. Shapes have to be the same; nothing is broadcast. Neither side is the truth
    here, so a difference between rounding and a mistake is `inconclusive`.

    Returns a `Report`. Raises `InvalidArgument` when there is nothing to compare or the two sides do not match up.

    >>> import torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad_ = 2 * x.detach()
    >>> compare({"x": x}).verdict
    'pass'
    """
    started = time.perf_counter()
    with preserved_state(), reading("the gradients"):
        return _compared(manual, reference, wrt_of(wrt), started)


def _compared(manual: Any, reference: Any, wrt: tuple[str | int, ...] | None, started: float) -> Report:
    pairs = _notebook(manual) if reference is None else _pairs(manual, reference)
    unwanted = () if wrt is None else _unwanted(pairs, wrt)
    pairs = [p for k, p in enumerate(pairs) if k not in unwanted]
    empty = [p.name for p in pairs if _is_empty(p)]
    pairs = [p for p in pairs if p.name not in empty]
    if not pairs:
        which = f"{empty[0]!r} has" if len(empty) == 1 else f"{', '.join(map(repr, empty))} have"
        raise InvalidArgument(f"nothing to compare: {which} no elements; pass gradients that have some")
    references = {p.name: p.reference for p in pairs if p.reference is not None}
    scale = max((_rms(value) for value in references.values()), default=0.0)
    tensors = {n: v for n, v in manual.items() if isinstance(v, torch.Tensor)} if reference is None else {}
    comparisons = [_compare(pair, references, tensors, scale) for pair in pairs]
    gradients = tuple(comparison.result for comparison in comparisons)
    findings = tuple(finding for comparison in comparisons for finding in comparison.findings)
    reasons = tuple(gradient.reason for gradient in gradients if gradient.reason)
    uncompared = ["not wanted"] * len(unwanted) + ["no elements"] * len(empty)
    uncompared += ["inconclusive" if g.reason else COMPARED for g in gradients]
    return Report(
        verdict=verdict_of(gradients, findings, reasons),
        subject="gradients",
        kind="gradients",
        gradients=gradients,
        findings=findings,
        oracle="autograd, as retained in .grad" if reference is None else "the gradients that were given",
        sensitivity={c.result.name: c.sensitivity for c in comparisons},
        evaluations={"forward": 0, "backward": 0},
        seconds=time.perf_counter() - started,
        reproduce="gl.compare(globals())" if reference is None else "gl.compare(manual, reference)",
        reasons=reasons,
        environment=environment(),
        coverage=(Coverage.of("gradient", uncompared),),
    )


def _unwanted(pairs: Sequence[_Pair], wrt: tuple[str | int, ...]) -> frozenset[int]:
    """The pairs, by position, that `wrt` leaves out."""
    names = [p.name for p in pairs]
    return frozenset(range(len(names))) - wanted_of(wrt, "the gradients", names, range(len(names)))


def _is_empty(pair: _Pair) -> bool:
    """Whether both sides are tensors of one shape without an element in it."""
    sides = [_tensor(pair.manual, pair.name, "manual"), pair.reference]
    return all(side is not None and not side.numel() for side in sides) and sides[0].shape == sides[1].shape  # type: ignore[union-attr]


def _notebook(values: Any) -> list[_Pair]:
    if not isinstance(values, Mapping):
        raise InvalidArgument(
            f"compare was given a {type(values).__name__} and no reference; pass gl.compare(manual, reference) or "
            "gl.compare(globals())"
        )
    found = hand_made(values)
    if not found:
        raise InvalidArgument(
            "nothing to compare: no tensor in the mapping has a gradient made by hand; call it dX, X_grad or grads['X'], or "
            "set X.grad_ = ..., beside autograd's X.grad, or pass gl.compare(manual, reference)"
        )
    count = Counter(each.name for each in found)
    pairs = []
    for each in found:
        tensor = one_line(str(each.name))
        name = tensor if count[each.name] == 1 else f"{tensor} ({one_line(each.where)})"
        where = None if each.on_tensor or count[each.name] > 1 else one_line(each.where)
        pairs.append(_Pair(name, each.gradient, *_autograd(tensor, each.tensor), where, each.tensor))
    return pairs


def _autograd(name: str, value: torch.Tensor) -> tuple[torch.Tensor | None, str | None]:
    if not value.requires_grad:
        return (
            None,
            f"{name} does not require grad, so autograd has no gradient for it; set requires_grad on the leaves",
        )
    if not value.is_leaf and not value.retains_grad:
        return (
            None,
            f"{name} is an intermediate and autograd dropped its gradient; call {name}.retain_grad() before backward()",
        )
    if value.grad is None:
        return None, f"{name} has no .grad yet; call backward() on the loss first"
    return value.grad, None


def _pairs(manual: Any, reference: Any) -> list[_Pair]:
    mine, theirs = _named(manual), _named(reference)
    if mine.keys() != theirs.keys():
        only = [f"{k!r} is in manual only" for k in mine if k not in theirs]
        only += [f"{k!r} is in reference only" for k in theirs if k not in mine]
        raise InvalidArgument(f"the two sides do not match: {', '.join(only)}; give both the same names")
    if not mine:
        raise InvalidArgument("nothing to compare: manual and reference are empty; pass the gradients")
    pairs = []
    for name, value in theirs.items():
        tensor = _tensor(value, name, "reference")
        if tensor is not None and tensor.requires_grad:
            pairs.append(_Pair(name, mine[name], *_autograd(name, tensor)))
        else:
            pairs.append(_Pair(name, mine[name], tensor))
    return pairs


def _named(values: Any) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {one_line(str(key)): value for key, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return {f"gradient {k}": value for k, value in enumerate(values)}
    return {"gradient": values}


def _tensor(value: Any, name: str, side: str) -> torch.Tensor | None:
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise InvalidArgument(f"{side} {name!r} is a {type(value).__name__}; pass a tensor, an array or a number") from None
    if is_sparse(value):
        return value.detach().to_dense()
    if (other := what_else(value)) is not None:
        raise InvalidArgument(f"{side} {name!r} is {other[0]}; pass {other[1]}")
    return value


def _compare(
    pair: _Pair, references: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], scale: float
) -> Comparison:
    manual = _tensor(pair.manual, pair.name, "manual")
    like = pair.reference if pair.reference is not None else manual
    if like is None:
        raise InvalidArgument(f"nothing to compare: {pair.name!r} is None on both sides; pass the gradients")
    if not (like.is_floating_point() or like.is_complex()):
        like = like.double()
    label = repr(pair.name) if pair.where is None else f"{pair.name!r} ({pair.where})"
    slot = Slot(pair.name, label, tuple(like.shape), like.dtype, like.device, reference="reference")
    if pair.reference is None and pair.reason is None:
        return compare_gradient(slot, manual, None, lambda level: [], _evidence(slot, references, tensors))
    if pair.reason is not None:
        empty = judge(like.new_zeros(0), like.new_zeros(0).double(), slot.dtype)
        result = result_of(slot, empty, like, like, "inconclusive")
        return Comparison(replace(result, reason=pair.reason))
    assert pair.reference is not None
    expected = pair.reference.detach().to(wide_dtype(like.dtype))
    agree, differ = (AGREE_16_BITS, DIFFER_16_BITS) if is_narrow(slot.dtype) else (AGREE, DIFFER)
    alike = isinstance(manual, torch.Tensor) and tuple(manual.shape) == slot.shape and manual.device == slot.device
    if not isinstance(manual, torch.Tensor) or not alike or manual.is_complex() != expected.is_complex():
        return compare_gradient(slot, manual, expected, lambda level: [], _evidence(slot, references, tensors))
    found = judge(manual.detach(), expected, slot.dtype, roundings=agree.value)
    unlike = bool((torch.isfinite(manual.detach()) & ~torch.isfinite(expected)).any())
    if found.passed and (unlike or found.unjudged == found.elements):
        where = "where manual is finite" if unlike else "in any element"
        result = result_of(slot, found, manual, expected, "inconclusive")
        return Comparison(replace(result, reason=f"{pair.name!r} of the reference is not finite {where}"))
    if found.passed:
        return Comparison(result_of(slot, found, manual, expected, "pass"), (), found.sensitivity)
    noise = AGREE.value * unit_roundoff(slot.dtype) * scale
    level = float(expected.abs().max()) <= noise and float(manual.detach().abs().max()) <= noise
    level = level and not _proportional(manual.detach(), expected, slot.dtype)
    if level or judge(manual.detach(), expected, slot.dtype, roundings=differ.value).passed:
        reason = (
            f"{pair.name!r} differs by more than rounding usually does and less than a mistake; "
            "run both in float64, or check the op with gl.check"
        )
        return Comparison(replace(result_of(slot, found, manual, expected, "inconclusive"), reason=reason))
    result = result_of(slot, found, manual, expected, "fail")
    evidence = _evidence(slot, references, tensors)(manual.detach(), expected)
    # here the uses of a tensor are the user's own lines, so that a lost one says most
    explanation = missing_uses(evidence) or explain(evidence)
    each = (explanation, *explanation.also)
    return Comparison(result, tuple(wrong_finding(slot, result, found, e, manual) for e in each))


def _proportional(manual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether one is a multiple of the other, as rounding left by cancellation is not, in elements of several sizes."""
    sizes, square = expected.abs(), (expected.conj() * expected).sum()
    if len(sizes.unique()) < FEW_SIZES.value or not bool(sizes.all()):
        return False
    factor = (expected.conj() * manual.to(expected)).sum() / square
    return bool(factor != 0) and judge(manual, factor * expected, dtype, roundings=AGREE.value).passed


def _evidence(slot: Slot, references: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> Any:
    def paths() -> Iterable[PartialGradient]:
        own = tensors.get(slot.name)
        return () if own is None else incomplete_gradients(RetainedGraph(tensors), own)

    def evidence(actual: torch.Tensor, expected: torch.Tensor) -> Evidence:
        return Evidence(slot.name, actual, expected, slot.dtype, tensors, references, paths=paths, assigned=True)

    return evidence


def _rms(value: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(value.detach().double()) / max(1, value.numel()) ** 0.5)
