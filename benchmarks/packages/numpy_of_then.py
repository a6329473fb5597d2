"""What packages of before NumPy 1.24 use: `numpy.int` and the like, and `can_cast` to an abstract type."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np

for _name, _kind in {"int": int, "float": float, "bool": bool}.items():
    if _name not in vars(np):
        setattr(np, _name, _kind)

_can_cast = np.can_cast


@wraps(_can_cast)
def _cast(from_: Any, to: Any, *more: Any, **words: Any) -> bool:
    return bool(_can_cast(from_, np.float64 if to is np.number else to, *more, **words))


np.can_cast = _cast
