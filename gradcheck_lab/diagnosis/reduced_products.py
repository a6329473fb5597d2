"""Products, convolutions and recurrent layers that a device computes in fewer bits than the dtype has, where torch lets it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.precision_settings import LEGACY, Settings
from gradcheck_lab.model.amounts import PRODUCT_SIDE
from gradcheck_lab.model.precision import unit_roundoff

Kind = Literal["products", "convolutions", "recurrent layers"]
# words in the names of torch's operators, of which a fused one has several
_NAMED: dict[Kind, tuple[str, ...]] = {
    "products": ("mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot", "linear", "matmul", "attention", "einsum", "addbmm"),
    "convolutions": ("convolution", "conv1d", "conv2d", "conv3d"),
    "recurrent layers": ("rnn", "lstm", "gru"),
}
_FULL, _HALF, _SHORT = torch.float32, torch.float16, torch.bfloat16


@dataclass(frozen=True, slots=True)
class Reduction:
    """One setting of torch that reduces precision: where it acts, on which operators, and what it leaves.

    `dtype` is that of the tensors, `level` the dtype whose rounding the error then has: that of float16 for TF32, which keeps
    its fraction of 10 bits, and the dtype itself where sums are kept in it. `value` is the value that turns it on.
    """

    setting: str
    devices: tuple[str, ...]
    kind: Kind
    dtype: torch.dtype
    level: torch.dtype
    value: Any
    what: str
    off: Any

    @property
    def sentence(self) -> str:
        """What the setting does, and what turns it off."""
        return f"{self.what}; torch.backends.{self.setting} = {self.off!r} turns that off"


def _in_tf32(setting: str, devices: tuple[str, ...], kind: Kind) -> Reduction:
    return Reduction(setting, devices, kind, _FULL, _HALF, "tf32", f"float32 {kind} are computed in TF32", "ieee")


def _in_bfloat16(setting: str, kind: Kind) -> Reduction:
    what = f"float32 {kind} are computed in bfloat16"
    return Reduction(setting, ("cpu", "xpu"), kind, _FULL, _SHORT, "bf16", what, "ieee")


def _sums(name: str, dtype: torch.dtype) -> Reduction:
    short = str(dtype).removeprefix("torch.")
    what = f"{short} products may be summed in {short}"
    return Reduction(f"cuda.matmul.{name}", ("cuda",), "products", dtype, dtype, True, what, False)


REDUCTIONS = (
    _in_tf32("cuda.matmul.fp32_precision", ("cuda",), "products"),
    _in_tf32("cudnn.conv.fp32_precision", ("cuda",), "convolutions"),
    _in_tf32("cudnn.rnn.fp32_precision", ("cuda",), "recurrent layers"),
    _in_tf32("mkldnn.matmul.fp32_precision", ("cpu", "xpu"), "products"),
    _in_tf32("mkldnn.conv.fp32_precision", ("cpu", "xpu"), "convolutions"),
    _in_tf32("mkldnn.rnn.fp32_precision", ("cpu", "xpu"), "recurrent layers"),
    _in_bfloat16("mkldnn.matmul.fp32_precision", "products"),
    _in_bfloat16("mkldnn.conv.fp32_precision", "convolutions"),
    _in_bfloat16("mkldnn.rnn.fp32_precision", "recurrent layers"),
    _sums("allow_fp16_accumulation", _HALF),
    _sums("allow_fp16_reduced_precision_reduction", _HALF),
    _sums("allow_bf16_reduced_precision_reduction", _SHORT),
)


def reductions(device: str, dtype: torch.dtype, level: torch.dtype, known: Settings) -> Iterator[Reduction]:
    """The settings that are on and leave an error at the level of a dtype in tensors of `dtype`, where they act.

    `known` are those of `calls.precision_settings`. Where torch has no setting for products alone, the legacy one counts.

    >>> [each.setting for each in reductions("cuda", torch.float32, torch.float16, {"cuda.matmul.fp32_precision": "tf32"})]
    ['cuda.matmul.fp32_precision']
    >>> [*reductions("cpu", torch.float32, torch.float16, {"cuda.matmul.fp32_precision": "tf32"})]
    []
    """
    for each in REDUCTIONS:
        if device in each.devices and (dtype, level) == (each.dtype, each.level) and _value(each, known) == each.value:
            yield each


def ran(reduction: Reduction, operators: Collection[str] | None) -> bool:
    """Whether an operator that a setting is about is among those that ran, by their names; None for operators not known.

    >>> ran(REDUCTIONS[0], {"aten::addmm"}), ran(REDUCTIONS[0], {"aten::exp"}), ran(REDUCTIONS[0], None)
    (True, False, True)
    """
    if operators is None:
        return True
    words = {word for name in operators for word in name.rpartition("::")[2].split("_")}
    return not words.isdisjoint(_NAMED[reduction.kind])


def acts(reduction: Reduction, device: torch.device) -> bool:
    """Whether a product or a convolution on a device is rounded as a setting allows: not every device and kernel does so.

    What is not seen in one product, sums in 16 bits and recurrent layers, counts as done.
    """
    if reduction.dtype != _FULL or reduction.kind == "recurrent layers":
        return True
    nearly_one = 1 + unit_roundoff(_HALF) / 2  # in float32, and not in TF32 or bfloat16
    with torch.no_grad():
        if reduction.kind == "products":
            value = torch.full((PRODUCT_SIDE.value, PRODUCT_SIDE.value), nearly_one, device=device)
            found = value @ value
            terms = PRODUCT_SIDE.value
        else:
            value, kernel = (torch.full(shape, nearly_one, device=device) for shape in ((1, 16, 32, 32), (16, 16, 3, 3)))
            found = torch.nn.functional.conv2d(value, kernel)
            terms = 16 * 9
    numbers = found.double()
    return bool(((numbers - terms).abs() < (numbers - terms * nearly_one**2).abs()).any())  # nearer to products of ones


def _value(reduction: Reduction, known: Settings) -> Any:
    if reduction.setting in known:
        return known[reduction.setting]
    legacy = reduction.setting == "cuda.matmul.fp32_precision" and known.get(LEGACY, "highest") != "highest"
    return "tf32" if legacy else None
