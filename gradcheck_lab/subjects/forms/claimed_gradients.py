"""Whether the arrays that a function returns beside a number are gradients: by their names, by the function's, by a call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_lab.subjects.forms.numeric_gradient import elements_of, is_close, is_parallel, numeric_elements
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.gradient_names import looks_like_gradient, partners
from gradcheck_lab.subjects.layers.paths import is_array, is_number

_SAYS_GRADIENT = re.compile(r"grad(?!check)|deriv|jacob|backprop|backward|nabla", re.IGNORECASE)
_SHORT = frozenset("g gs d gx dx dy dz da dw db dl fp f_prime fprime df delta deltas".split())


def claimed_entries(
    function: Callable[..., Any], result: Sequence[Any], loss: int, names: Sequence[str], leaves: Sequence[Any],
    call: Callable[[Sequence[Any]], Any],
) -> list[int] | None:  # fmt: skip
    """The entries of a result but `loss` that are claimed to be gradients, or are some; None where that cannot be told.

    A name such as `dx`, or a function whose name, docstring or comments speak of gradients, claims it, right or wrong.
    What is called otherwise, as `probs` or `y`, is a gradient only where a numeric derivative agrees, and left out beside
    those that are named. An expression without a name is claimed where it is parallel to that. `call` gives the loss for
    other leaves.
    """
    words = returned_names(function, with_items=True) or ()
    words = words if len(words) == len(result) else ("",) * len(result)
    others = [(k, word) for k, word in enumerate(words) if k != loss]
    by_name = [k for k, word in others if _is_named(word, names)]
    says = _says_gradient(function)
    claimed: list[int] = []
    for k, word in others:
        value = result[k]
        fitting = [i for i, v in enumerate(leaves) if is_array(v) and is_array(value) and v.shape == value.shape]
        said = k in by_name or (not word and (says or is_number(value)))
        if said or any(_agrees(value, leaves, i, call, word) for i in fitting):
            claimed.append(k)
        elif not word or not by_name:
            return None
    return claimed


def _is_named(word: str, names: Sequence[str]) -> bool:
    if word in names:
        return False
    named = looks_like_gradient(word) or word.lower() in _SHORT or _SAYS_GRADIENT.search(word) is not None
    return bool(word) and (named or any(partners(name, [word]) for name in names))


def _says_gradient(function: Callable[..., Any]) -> bool:
    text = str(getattr(function, "__name__", ""))
    try:
        text += inspect.getsource(function)
    except (OSError, TypeError):
        text += getattr(function, "__doc__", None) or ""
    return _SAYS_GRADIENT.search(text) is not None


def _agrees(value: Any, leaves: Sequence[Any], index: int, call: Callable[[Sequence[Any]], Any], word: str) -> bool:
    where = elements_of(leaves[index])
    slope = numeric_elements(call, leaves, index, where)
    if slope is None:
        return False
    own = np.asarray(value).reshape(-1)[where]
    return is_close(own, slope) or (not word and is_parallel(own, slope))
