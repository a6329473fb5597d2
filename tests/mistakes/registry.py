"""The catalogue's row: a wrong subject, its sound twin, the cause that a check should say, and one ordinary call."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl

Build = Callable[[bool], Any]
_numbers = count()


@dataclass(frozen=True, slots=True)
class Mistake:
    """`wrong()` and `sound()` build new subjects; `inputs` is the call that a user would bring, copied for every use."""

    name: str
    cause: str
    wrong: Callable[[], Any]
    sound: Callable[[], Any]
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    check_options: Mapping[str, Any] = field(default_factory=dict)

    def check_wrong(self) -> gl.Report:
        """Check the wrong subject as a user would."""
        return self._check(self.wrong())

    def check_sound(self) -> gl.Report:
        """Check the sound twin as a user would."""
        return self._check(self.sound())

    def _check(self, subject: Any) -> gl.Report:
        return gl.check(subject, *deepcopy(self.inputs), options=dict(self.options), **self.check_options)

    def __str__(self) -> str:
        return f"{self.cause}-{self.name}"


class Table:
    """Rows that register themselves under `@table(cause, name, *inputs)`: functions of whether to make the mistake."""

    def __init__(self) -> None:
        self.rows: list[Mistake] = []

    def __call__(
        self, cause: str, name: str, *inputs: Any, options: Mapping[str, Any] | None = None, **check_options: Any
    ) -> Callable[[Build], Build]:
        def register(build: Build) -> Build:
            row = Mistake(name, cause, lambda: build(True), lambda: build(False), inputs, options or {}, check_options)
            self.rows.append(row)
            return build

        return register


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Ordinary random numbers, the same for the same shape and seed in every dtype."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def positive(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Ordinary random numbers above 0.2."""
    return (normal(*shape, seed=seed).abs() + 0.2).to(dtype)


def whole(high: int, *shape: int, seed: int = 0) -> Tensor:
    """Integers from 0 to below `high`."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def complex_normal(*shape: int, seed: int = 0) -> Tensor:
    """Ordinary random complex numbers."""
    return torch.complex(normal(*shape, seed=seed), normal(*shape, seed=seed + 100))


def array(*shape: int, seed: int = 0) -> Any:
    """The numbers of `normal` as a NumPy array."""
    return normal(*shape, seed=seed).numpy().copy()


def operator_name(name: str) -> str:
    """A name for a custom operator that no other has: operators cannot be registered twice."""
    return f"gradcheck_lab_catalogue::{name}_{next(_numbers)}"
