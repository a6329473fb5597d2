"""Tensors and arrays as Python expressions that make the same values, dtype and strides again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.limits import LITERAL_ELEMENTS

_DIGITS = (17, 16, 15, 12, 9, 8, 7, 6, 5, 4, 3, 2, 1)


def tensor_text(value: torch.Tensor) -> str | None:
    """An expression that makes a tensor again; None where no short one does.

    >>> tensor_text(torch.tensor([[0.5, 0.1]], dtype=torch.float64)), tensor_text(torch.arange(6.0).reshape(2, 3))
    ('torch.tensor([[0.5, 0.1]], dtype=torch.float64)', 'torch.arange(6.0).reshape(2, 3)')
    """
    marks = ".requires_grad_()" if value.requires_grad else ""
    value = value.detach()
    if value.layout == torch.sparse_coo:
        dense = tensor_text(value.to_dense())
        return None if dense is None else f"{dense}.to_sparse(){marks}"
    if value.is_complex():
        parts = [tensor_text(part.clone()) for part in (value.real, value.imag)]
        texts = [f"torch.complex({', '.join(map(str, parts))})"] if None not in parts else []
    else:
        texts = [text for text in (_row_major(value), _with_strides(value)) if text is not None]
    return next((text + marks for text in texts if _makes(text, value)), None)


def array_text(value: np.ndarray[Any, Any]) -> str | None:
    """An expression that makes an array again, in C or Fortran order; None where no short one does.

    >>> array_text(np.array([1, 2], dtype=np.int32)), array_text(np.ones((2, 2)))
    ('np.array([1, 2], dtype=np.int32)', 'np.ones((2, 2))')
    """
    try:
        tensor = torch.from_numpy(np.array(value, order="C"))
    except TypeError:  # of a dtype that torch has none for
        return None
    bare = value.dtype in (np.float64, np.int64, np.bool_)
    text = _values_text(tensor, "np", "array", [] if bare else [f"dtype=np.{value.dtype.name}"])
    if text is None or type(value) is not np.ndarray or value.dtype.kind not in "biuf":
        return None
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        text = f"np.asfortranarray({text})"
    made = eval(text, {"np": np})
    same = made.dtype == value.dtype and np.array_equal(made, value, equal_nan=value.dtype.kind == "f")
    return text if same else None


def _row_major(value: torch.Tensor) -> str | None:
    implied = (torch.get_default_dtype(), torch.int64, torch.bool)
    further = [] if value.dtype in implied else [f"dtype={value.dtype}"]
    further += [] if value.device.type == "cpu" else [f"device={str(value.device)!r}"]
    return _values_text(value, "torch", "tensor", further)


def _with_strides(value: torch.Tensor) -> str | None:
    sizes, strides = tuple(value.shape), value.stride()
    if 0 in strides:
        base = value[tuple(slice(None, 1) if stride == 0 else slice(None) for stride in strides)]
        text = _row_major(base.contiguous())
        return None if text is None else f"{text}.expand({', '.join(map(str, sizes))})"
    if value.ndim == 2 and value.t().is_contiguous():
        text = _row_major(value.t())
        return None if text is None else f"{text}.t()"
    text = _row_major(value.contiguous())
    device = "" if value.device.type == "cpu" else f", device={str(value.device)!r}"
    return None if text is None else f"torch.empty_strided({sizes}, {strides}, dtype={value.dtype}{device}).copy_({text})"


def _values_text(value: torch.Tensor, library: str, make: str, further: Sequence[str]) -> str | None:
    """A call of the library that makes these values in row-major order: equal ones, 0, 1, 2, ..., or a few written out."""
    shape, flat, floating = tuple(value.shape), value.reshape(-1), value.dtype.is_floating_point
    end = "".join(f", {each}" for each in further)
    if not flat.numel():
        return f"{library}.zeros({shape}{end})" if floating else f"{library}.zeros({shape}, dtype={library}.{_name(value)})"
    first = flat[0].item()
    if flat.numel() > 3 and bool((flat == first).all()):
        if floating and first in (0, 1) and math.copysign(1, first) > 0:
            sizes = shape if library == "np" else ", ".join(map(str, shape))
            return f"{library}.{'ones' if first else 'zeros'}({sizes}{end})"
        return f"{library}.full({shape}, {_number(first)}{end})"
    if flat.numel() > 3 and value.dtype != torch.bool and torch.equal(flat, torch.arange(flat.numel()).to(flat)):
        count = f"{flat.numel()}{'.0' if floating else ''}"
        reshaped = "" if len(shape) == 1 else f".reshape({', '.join(map(str, shape))})"
        return f"{library}.arange({count}{end}){reshaped}"
    if flat.numel() > LITERAL_ELEMENTS.value:
        return None
    return f"{library}.{make}({_nested(shape, iter(_texts(flat)))}{end})"


def _name(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _nested(shape: tuple[int, ...], texts: Iterator[str]) -> str:
    return f"[{', '.join(_nested(shape[1:], texts) for _ in range(shape[0]))}]" if shape else next(texts)


def _texts(flat: torch.Tensor) -> list[str]:
    """The shortest text of each element that the dtype reads as the same number."""
    values = flat.tolist()
    texts = [_number(value) for value in values]
    for digits in _DIGITS if flat.dtype.is_floating_point else ():
        shorter = [float(f"{value:.{digits}g}") for value in values]
        same = (torch.tensor(shorter, dtype=torch.float64).to(flat.dtype) == flat.cpu()).tolist()
        texts = [_number(new) if each else old for new, old, each in zip(shorter, texts, same, strict=True)]
    return texts


def _number(value: Any) -> str:
    return repr(value) if isinstance(value, int) or math.isfinite(value) else f"float({str(value)!r})"


def _makes(text: str, value: torch.Tensor) -> bool:
    """Whether an expression makes a tensor of the same dtype, values and strides."""
    try:
        made = eval(text, {"torch": torch})
    except Exception:
        return False
    alike = made.dtype == value.dtype and made.shape == value.shape and (made.stride() == value.stride() or value.numel() < 2)
    return alike and bool(((made == value) | ((made != made) & (value != value))).all())
