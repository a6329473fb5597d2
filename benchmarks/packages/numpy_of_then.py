"""Names that packages of before NumPy 1.24 and Python 3.10 use: `numpy.int`, `can_cast` to an abstract type, `collections.Hashable`."""

from __future__ import annotations

import collections
import collections.abc
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
collections.Hashable = collections.abc.Hashable  # type: ignore[attr-defined]
