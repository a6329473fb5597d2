"""The functions of a device's library that a kernel may call, on arrays; Triton's interpreter has none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
# as the library calls them, and as torch does where that is another name
_NAMED = (
    "abs acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh erf erfc erfinv exp exp2 expm1 floor fmod hypot isinf "
    "isnan ldexp lgamma log log10 log1p log2 nextafter pow rsqrt sin sinh sqrt tan tanh trunc"
).split()
_RENAMED = {
    "fabs": "abs", "finitef": "isfinite", "isfinited": "isfinite", "rint": "round", "nearbyint": "round", "signbit": "signbit",
    "fmax": "fmax", "fmin": "fmin", "j0": "special.bessel_j0", "j1": "special.bessel_j1", "erfcx": "special.erfcx",
    "normcdf": "special.ndtr", "normcdfinv": "special.ndtri", "fast_sinf": "sin", "fast_cosf": "cos", "fast_tanf": "tan",
    "fast_expf": "exp", "fast_logf": "log", "fast_log2f": "log2", "fast_log10f": "log10", "fast_powf": "pow",
    "fast_dividef": "div", "div_rn": "div", "div_rz": "div", "div_rd": "div", "div_ru": "div", "sqrt_rn": "sqrt",
    "rsqrt_rn": "rsqrt", "llrint": "round", "fdim": "fdim",
}  # fmt: skip


def _by_torch(name: str) -> Callable[..., Array]:
    function: Any = torch
    for part in name.split("."):
        function = getattr(function, part)

    def compute(*values: Array) -> Array:
        found: torch.Tensor = function(*(torch.from_numpy(np.array(value)) for value in values))
        return np.asarray(found.numpy())

    return compute


def _fdim(x: Array, y: Array) -> Array:
    return np.asarray(np.maximum(x - y, np.zeros_like(x)))


def _exp10(x: Array) -> Array:
    return np.asarray(np.power(np.full_like(x, 10), x))


def _cbrt(x: Array) -> Array:
    return np.asarray(np.cbrt(x))


def _fma(x: Array, y: Array, z: Array) -> Array:
    return np.asarray((x.astype(np.float64) * y + z).astype(x.dtype))


def _rcp(x: Array) -> Array:
    return np.asarray((1 / x).astype(x.dtype))


def _div(x: Array, y: Array) -> Array:
    return np.asarray(x / y)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{name: _by_torch(name) for name in _NAMED},
    **{name: _by_torch(given) for name, given in _RENAMED.items() if given not in ("fdim", "div")},
    **{name: _div for name, given in _RENAMED.items() if given == "div"},
    "fdim": _fdim,
    "exp10": _exp10,
    "fast_exp10f": _exp10,
    "cbrt": _cbrt,
    "fma": _fma,
    "fma_rn": _fma,
    "rcp_rn": _rcp,
}
