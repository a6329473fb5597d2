"""Hypothesis strategies that draw recipes of calls from specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.specs import Spec


def recipes(
    signatures: Sequence[tuple[Spec, ...]],
    sizes: Sequence[int],
    dtypes: Sequence[torch.dtype],
    options: Mapping[str, Sequence[Any]],
) -> st.SearchStrategy[CallRecipe]:
    """Draw what calls are built from: dimensions of `sizes` and rarely 0, any of `dtypes` and of the options' values."""
    _refuse_dtypes(dtypes)
    return coded_recipes(Coding(tuple(signatures), tuple(sizes), tuple(dtypes), options))


def coded_recipes(coding: Coding) -> st.SearchStrategy[CallRecipe]:
    """Draw what a coding can write."""
    return st.binary(min_size=coding.width, max_size=coding.width).map(coding.decode)


def _refuse_dtypes(dtypes: Sequence[torch.dtype]) -> None:
    if not dtypes or not all(isinstance(dtype, torch.dtype) and dtype.is_floating_point for dtype in dtypes):
        raise InvalidArgument(f"dtypes is {dtypes!r}; pass floating dtypes, such as (torch.float64,)")
