"""A backward that writes at an index more than once where it has to add: seen by running it with such writes added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, copy_tensor
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Manual, Recording, Subject
from gradcheck_lab.torch_internals import DispatchMode

_CAUSE = "duplicate-index"
_ATEN = torch.ops.aten


def with_repeats_named(examined: Examined, again: Callable[[Runner], Examined]) -> Examined:
    """The same, where repeated indices explain wrong gradients: these are right in `again`, with what they overwrite added."""
    if examined.run is None or not any(_is_open(finding) for finding in examined.findings):
        return examined
    sums = _Sums()
    runner = replace(examined.runner, subject=_with_sums(examined.subject, sums))
    if not _repeats(examined, runner, sums):
        return examined
    right = examined.right_in(again(runner))
    return replace(examined, findings=tuple(_explained(f, right, sums.most) for f in examined.findings))


def _repeats(examined: Examined, runner: Runner, sums: _Sums) -> bool:
    """Whether the backward writes at an index more than once, by one further run of both halves."""
    case = examined.case
    try:
        recording = runner.record(copy_inputs(case.inputs), case)
        runner.backward(recording, tuple(map(copy_tensor, case.grad_outputs or ())), case.seed)
    except Exception:  # the user's code need not run again
        return False
    return sums.most > 0


def _is_open(finding: Finding) -> bool:
    """Whether a finding is of wrong numbers that nothing explains yet."""
    return finding.cause in having("unexplained") and finding.op is None and finding.measured is not None


def _explained(finding: Finding, right: frozenset[str], most: int) -> Finding:
    if not _is_open(finding) or finding.gradient not in right:
        return finding
    told = f"backward writes {most} times at one index, and the last stays: the gradient is right when they are added up"
    return replace(finding, cause=_CAUSE, explanation=told, suggestion=CAUSES[_CAUSE].fix, kept=())


def _with_sums(subject: Subject, sums: _Sums) -> Subject:
    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        recording = subject.record(inputs, options)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            with sums:
                return recording.backward(grad_outputs)

        return replace(recording, backward=backward)

    return replace(subject, record=record)


class _Sums(DispatchMode):
    """Adds what is written at a repeated index to what the tensor held there; `most` is how often one index was repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._writes: dict[str, Callable[..., Any]] = {
            "index_put": self._index_put,
            "scatter": self._scatter,
            "index_copy": self._index_copy,
        }

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        write = self._writes.get(name)
        added = None if write is None else write(*args, **kwargs)
        if added is None:
            return func(*args, **kwargs)
        return args[0].copy_(added) if func.overloadpacket.__name__.endswith("_") else added

    def _repeats(self, places: torch.Tensor) -> bool:
        """Whether one of the places, numbers of elements, occurs more than once."""
        times = int(torch.unique(places, return_counts=True)[1].max()) if places.numel() else 0
        self.most = max(self.most, times if times > 1 else 0)
        return times > 1

    def _index_put(self, target: torch.Tensor, indices: Sequence[Any], values: torch.Tensor, *rest: Any, **kw: Any) -> Any:
        if (rest[0] if rest else kw.get("accumulate", False)) or any(i is not None and i.dtype == torch.bool for i in indices):
            return None
        numbers = torch.arange(target.numel(), device=target.device).reshape(target.shape)
        if not self._repeats(_ATEN.index(numbers, indices)):
            return None
        return _ATEN.index_put(target, indices, values - _ATEN.index(target, indices), True)

    def _scatter(self, target: torch.Tensor, dim: int, index: torch.Tensor, src: Any, **kw: Any) -> Any:
        numbers = torch.arange(target.numel(), device=target.device).reshape(target.shape)
        if kw or not target.ndim or not self._repeats(numbers.gather(dim, index)):
            return None
        same = isinstance(src, torch.Tensor)
        written = src[tuple(map(slice, index.shape))] if same else torch.full_like(index, src, dtype=target.dtype)
        return target.scatter_add(dim, index, written - target.gather(dim, index))

    def _index_copy(self, target: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        if not target.ndim or not self._repeats(index):
            return None
        return target.index_add(dim, index, source - target.index_select(dim, index))
