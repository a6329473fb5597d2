"""All gradients of one backward held against the truth by what rounding alone allows, with one read of their device.

Each read of a number waits for all work of the device. Small gradients on an accelerator are copied to the host, with the
truth, by one copy, and compared there; of large ones the worst elements are found on the device and read together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from gradcheck_lab.comparison.blocks import blocks
from gradcheck_lab.comparison.budget import Judgement, look, looked
from gradcheck_lab.comparison.numbers import first_judgement
from gradcheck_lab.model.limits import DEVICE_BLOCK_ELEMENTS, ELEMENTS_TO_THE_HOST
from gradcheck_lab.model.precision.budget import COARSE_ORACLE

K = TypeVar("K")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One gradient and the truth, tensors of one shape, with the dtype of the input that it is of."""

    actual: torch.Tensor
    truth: torch.Tensor
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """What rounding alone says of a gradient; `actual` and `truth` are those that it was said of, on the host where copied."""

    judgement: Judgement
    actual: torch.Tensor
    truth: torch.Tensor


def first_looks(entries: Mapping[K, Entry], truth_roundoff: float, margin: float) -> dict[K, First]:
    """The first judgement of each gradient; `truth_roundoff` is the rounding of the truth itself, 0 where that is wide."""
    near = _on_the_host(entries)
    found = _looked_on_the_device({key: each for key, each in near.items() if not each.actual.is_cpu}, truth_roundoff, margin)
    for key, each in near.items():
        if key not in found:
            off = error_of_truth(truth_roundoff, each.truth)
            found[key] = first_judgement(each.actual, each.truth, each.dtype, off, margin)
    return {key: First(found[key], each.actual, each.truth) for key, each in near.items()}


def error_of_truth(truth_roundoff: float, truth: torch.Tensor | None) -> float:
    """How far the truth itself may be off, where the forward takes no wider dtype than the inputs'; else 0."""
    if not truth_roundoff or truth is None or not truth.numel():
        return 0.0
    return COARSE_ORACLE.value * truth_roundoff * float(truth.square().mean().sqrt())


def copied_to_the_host(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Contiguous copies on the host of tensors of one device and any dtypes, by one copy of their bytes.

    >>> copied_to_the_host([torch.tensor([1.0, 2.0]).half(), torch.tensor(3.0).double()])
    [tensor([1., 2.], dtype=torch.float16), tensor(3., dtype=torch.float64)]
    """
    values = [value.detach().resolve_conj().resolve_neg().contiguous() for value in tensors]
    # the widest first, so that each begins at a multiple of its own width
    order = sorted(range(len(values)), key=lambda k: -values[k].itemsize)
    packed = torch.cat([values[k].reshape(-1).view(torch.uint8) for k in order]).cpu()
    found, start = list(values), 0
    for k in order:
        stop = start + values[k].nbytes
        found[k] = packed[start:stop].view(values[k].dtype).reshape(values[k].shape)
        start = stop
    return found


def _on_the_host(entries: Mapping[K, Entry]) -> dict[K, Entry]:
    """The same with copies on the host of small gradients of an accelerator, as many as few elements hold."""
    chosen, room = [], ELEMENTS_TO_THE_HOST.value
    for key, each in entries.items():
        if not each.actual.is_cpu and each.actual.device == each.truth.device and each.truth.numel() <= room:
            chosen.append(key)
            room -= each.truth.numel()
    if not chosen:
        return dict(entries)
    copies = iter(copied_to_the_host([tensor for key in chosen for tensor in (entries[key].actual, entries[key].truth)]))
    return {**entries, **{key: Entry(next(copies), next(copies), entries[key].dtype) for key in chosen}}


def _looked_on_the_device(entries: Mapping[K, Entry], truth_roundoff: float, margin: float) -> dict[K, Judgement]:
    """Those of large gradients that are within rounding in every element, read at once from their device."""
    real = {k: e for k, e in entries.items() if not e.truth.is_complex() and e.truth.numel() and not truth_roundoff}
    if not real:
        return {}
    places = {key: list(blocks(each.truth.shape, DEVICE_BLOCK_ELEMENTS.value)) for key, each in real.items()}
    rows = [look(e.actual[index], e.truth[index], e.dtype) for key, e in real.items() for index in places[key]]
    read = iter(torch.stack([row.to(rows[0].device) for row in rows]).tolist())
    found = {key: looked(e.truth, e.dtype, margin, [(i, next(read)) for i in places[key]]) for key, e in real.items()}
    return {key: judgement for key, judgement in found.items() if judgement is not None}
