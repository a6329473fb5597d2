"""The gradients that a hand-written backward returned in one check, and where those of a mutant differ from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.model.limits import TRACED_ELEMENTS
from gradcheck_lab.model.precision.numbers import SAME_GRADIENTS
from gradcheck_lab.report import Report
from gradcheck_lab.subjects.heard import listeners


@dataclass(frozen=True, slots=True)
class Tried:
    """One run of a backward: its call, and what it returned, None where it raised."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    upstream: tuple[Any, ...]
    returned: tuple[Any, ...] | None

    def lacks_gradient_of(self, other: Tried) -> bool:
        """Whether a gradient is None here that the other run has, other than zero."""
        pairs = zip(self.returned or (), other.returned or (), strict=False)
        return any(mine is None and _is_tensor(theirs) and bool((theirs != 0).any()) for mine, theirs in pairs)

    def has_as_much_as(self, other: Tried) -> bool:
        """Whether this run returned, and the gradients of the other run have no elements, so that None says as much."""
        return self.returned is not None and not any(_is_tensor(g) and g.numel() for g in other.returned or ())


@dataclass(slots=True)
class Trace:
    """All runs of a backward in one check, by what they were called with."""

    runs: dict[bytes, list[Tried]] = field(default_factory=dict)
    elements: int = 0

    def hear(
        self, inputs: tuple[Any, ...], options: Mapping[str, Any], upstream: tuple[Any, ...], returned: tuple[Any, ...] | None
    ) -> None:
        """Keep a run; those beyond `TRACED_ELEMENTS` are dropped."""
        self.elements += sum(value.numel() for value in (*inputs, *upstream, *(returned or ())) if _is_tensor(value))
        if self.elements <= TRACED_ELEMENTS.value:
            key = _key(inputs, options, upstream)
            self.runs.setdefault(key, []).append(Tried(inputs, dict(options), upstream, returned))


def traced(call: Callable[[], Report]) -> tuple[Report, Trace]:
    """The report of a check, and what the backward returned in it."""
    trace = Trace()
    listeners.append(trace.hear)
    try:
        return call(), trace
    finally:
        listeners.remove(trace.hear)


def differences(original: Trace, mutant: Trace) -> Iterator[tuple[Tried, Tried]]:
    """The calls that both made in which the mutant's gradients, given first, are others, beyond rounding."""
    for key, runs in mutant.runs.items():
        for mine, theirs in zip(runs, original.runs.get(key, []), strict=False):
            if not _same(mine.returned, theirs.returned):
                yield mine, theirs
                break


def _same(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(map(_same_gradient, one, other))


def _same_gradient(one: Any, other: Any) -> bool:
    if not _is_tensor(one) or not _is_tensor(other):
        return (one is None) == (other is None)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return bool((one == other).all())
    one, other = _dense(one), _dense(other)
    finite = other.isfinite()
    if not bool((one.isfinite() == finite).all()) or not bool(((one == other) | finite | (one.isnan() & other.isnan())).all()):
        return False
    if not bool(finite.any()):
        return True
    largest = torch.maximum(one[finite].abs().max(), other[finite].abs().max())
    allowed = SAME_GRADIENTS.value * torch.finfo(one.dtype).eps * float(largest)
    return float((one[finite] - other[finite]).abs().max()) <= allowed


def _dense(value: torch.Tensor) -> torch.Tensor:
    return value.detach() if value.layout == torch.strided else value.detach().to_dense()


def _key(inputs: tuple[Any, ...], options: Mapping[str, Any], upstream: tuple[Any, ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in (*inputs, "upstream", *upstream, *sorted(options.items(), key=str)):
        digest.update(_bytes(value))
    return digest.digest()


def _bytes(value: Any) -> bytes:
    if not _is_tensor(value):
        return repr(value).encode()
    head = f"{value.dtype}{tuple(value.shape)}".encode()
    if value.layout != torch.strided:
        return head + _bytes(value.to_dense())
    plain = value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).view(-1)
    values: bytes = plain.view(torch.uint8).numpy().tobytes()
    return head + str(value.stride()).encode() + values


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)
