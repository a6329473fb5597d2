"""The graph of a checked program, as a page draws it: its inputs and its steps, and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["input", "parameter", "op", "native"]
State = Literal["right", "wrong", "contaminated", "not compared"]


@dataclass(frozen=True, slots=True)
class Step:
    """An input of a program, or a step in it: an `op`, whose backward was checked, or a `native` step, whose is torch's own.

    `label` is how findings call it, `inputs` are the numbers of the steps that it is made of, `gradients` the names of the
    gradients of its results, as far as these are compared. A step is `wrong` by itself; its result is `contaminated` where
    its gradient is wrong only because of another step.
    """

    label: str
    kind: Kind
    inputs: tuple[int, ...]
    gradients: tuple[str, ...]
    state: State
    is_output: bool = False
