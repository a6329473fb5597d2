"""Settings of torch that let a device compute in fewer bits than the dtypes have: read by name, and put back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Any

import torch

LEGACY = "float32_matmul_precision"  # of torch.get_float32_matmul_precision and its setter, the only one before torch 2.9
# attributes of torch.backends, those first that others follow where these are "none"
NAMES = (
    "fp32_precision",
    *(f"{backend}.fp32_precision" for backend in ("cudnn", "mkldnn")),
    *(f"{backend}.{kind}.fp32_precision" for backend in ("cudnn", "mkldnn") for kind in ("conv", "rnn")),
    *(f"{backend}.matmul.fp32_precision" for backend in ("cuda", "mkldnn")),
    "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
    "cuda.matmul.allow_fp16_accumulation",
)

_READ = {name: attrgetter(name) for name in NAMES}

Settings = Mapping[str, Any]


def settings() -> dict[str, Any]:
    """What each setting is, by its name, without those that this torch has not.

    torch refuses to say what the legacy setting is where products of CUDA and oneDNN were set apart.
    """
    found: dict[str, Any] = {}
    with suppress(RuntimeError):
        found[LEGACY] = torch.get_float32_matmul_precision()
    for name, read in _READ.items():
        try:
            found[name] = read(torch.backends)
        except (AttributeError, RuntimeError):  # this torch has no such setting
            continue
    return found


def set_settings(wanted: Settings) -> None:
    """Put the settings back to what they were."""
    if LEGACY in wanted and settings().get(LEGACY) != wanted[LEGACY]:
        torch.set_float32_matmul_precision(wanted[LEGACY])
    for name in NAMES:
        if name in wanted and _READ[name](torch.backends) != wanted[name]:
            owner, _, attribute = name.rpartition(".")
            setattr(attrgetter(owner)(torch.backends) if owner else torch.backends, attribute, wanted[name])
