"""One call of the user's function, on copies, to see what it returns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness


def result_of(function: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a function returns for copies of these inputs; None where it raises, which the check itself reports."""
    with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
        try:
            return function(*copy.deepcopy(inputs), **copy.deepcopy(options))
        except Exception:
            return None
