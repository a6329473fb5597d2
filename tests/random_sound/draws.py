"""What a random call is made of: sizes, axes, dtypes and tensors of ordinary, zero, tied, large and tiny values."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

Value = TypeVar("Value")

WIDE = (torch.float64, torch.float32)
REAL = (*WIDE, torch.bfloat16, torch.float16)
COMPLEX = (torch.complex128, torch.complex64)
KINDS = ("ordinary", "ordinary", "ordinary", "zero", "some zeros", "tied", "large", "tiny")


class Draw:
    """Draws of one call, all tensors of one dtype; values come from a generator whose seed is drawn too."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1), label="seed"))
        self.dtype = torch.float64

    def of(self, values: Sequence[Value]) -> Value:
        """Draw one of some values."""
        return self.draw(st.sampled_from(values))

    def size(self, low: int = 1, high: int = 5) -> int:
        """Draw a size."""
        return self.draw(st.integers(low, high))

    def shape(self, low: int = 0, high: int = 3, smallest: int = 0) -> tuple[int, ...]:
        """Draw a shape of `low` to `high` dimensions; sizes 0 and 1 are drawn, 0 more rarely."""
        sizes = st.sampled_from([n for n in (3, 2, 4, 1, 5, 3, 2, 4, 1, 0) if n >= smallest])
        return tuple(self.draw(st.lists(sizes, min_size=low, max_size=high)))

    def axis(self, shape: Sequence[int]) -> int:
        """Draw an axis of a shape, counted from either end."""
        return self.draw(st.integers(-len(shape), len(shape) - 1))

    def axes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Draw one axis or more."""
        every = list(range(len(shape)))
        return tuple(self.draw(st.lists(st.sampled_from(every), min_size=1, max_size=len(every), unique=True)))

    def number(self, low: float, high: float) -> float:
        """Draw a number of two decimals."""
        return self.draw(st.integers(round(low * 100), round(high * 100))) / 100

    def real(self, *shape: int, kind: str | None = None) -> Tensor:
        """Draw a tensor of any values."""
        values = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        narrow = torch.finfo(self.dtype).bits == 16 and not self.dtype.is_complex
        kind = kind or self.of(KINDS)
        if kind == "zero":
            values = torch.zeros_like(values)
        elif kind == "some zeros":
            values = values * (torch.rand(shape, generator=self.generator) < 0.6)
        elif kind == "tied":
            values = (values * 1.5).round()
        elif kind == "large":
            values = values * (8 if narrow else 40)
        elif kind == "tiny":
            values = values * (1e-2 if narrow else 1e-6)
        if self.dtype.is_complex:
            values = torch.complex(values, values.flip(-1) if values.ndim else values * 0.5)
        return values.to(self.dtype)

    def positive(self, *shape: int) -> Tensor:
        """Draw a tensor of values from 0.3 up."""
        return (torch.randn(shape, generator=self.generator, dtype=torch.float64).abs() + 0.3).to(self.dtype)

    def probabilities(self, *shape: int) -> Tensor:
        """Draw rows of positive numbers that add up to one."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).softmax(-1).to(self.dtype)

    def whole(self, high: int, *shape: int) -> Tensor:
        """Draw integers from 0 to below `high`, repeated ones among them."""
        return torch.randint(high, shape, generator=self.generator)

    def mask(self, *shape: int) -> Tensor:
        """Draw truth values."""
        return torch.rand(shape, generator=self.generator) < 0.6

    def broadcast(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Draw a shape that broadcasts to another: sizes of 1, and leading dimensions left out."""
        kept = self.draw(st.integers(0, len(shape)))
        return tuple(1 if self.draw(st.integers(0, 3)) == 0 else n for n in shape[len(shape) - kept :])

    def alternatives(self, *ways: Any) -> Any:
        """Draw one of several ways to write the same thing."""
        return self.of(ways)
