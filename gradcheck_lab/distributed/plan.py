"""What a check of ranks is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.distributed.together import Layout
from gradcheck_lab.rules.op import Op


@dataclass(frozen=True, slots=True)
class Plan:
    """What is checked: the function of the ranks, whole inputs, how they lie, and the same function of whole tensors."""

    name: str
    function: Callable[..., Any] | Op
    inputs: tuple[Any, ...]
    layout: Layout
    reference: Callable[..., Any] | None
    options: Mapping[str, Any]
    constants: frozenset[int]
    allow: frozenset[str]
    seconds: float
    derived: bool
