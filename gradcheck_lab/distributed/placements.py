"""How a tensor lies on the ranks: whole on each, in parts along a dimension, or as terms of a sum.

The three words are those of `torch.distributed.tensor`, whose own objects are taken as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.moves import random_normal
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted

OUTPUT = "output"
_EXAMPLE = "pass gl.Replicate(), gl.Shard(0) or gl.Partial(), or their text 'replicate', 'shard:0', 'partial'"
_TEXT = re.compile(r"^(?:(replicate)d?|(replicate)d?:partial|shard(?:ed)?:(-?\d+)|(partial))$")
_TORCH = "torch.distributed.tensor"


@dataclass(frozen=True, slots=True)
class Replicate:
    """Every rank holds the whole tensor.

    Its `gradient` is whole on every rank as well ("replicate"), as Megatron-LM has it: of an input, each rank returns all of
    it, and of an output each rank is given all of it. Where it is "partial", the ranks hold terms whose sum is the gradient: of
    an input, nobody has reduced it yet; of an output, each rank uses it for something else, as after a gather whose backward
    reduces and scatters.

    >>> Replicate().text, Replicate("partial").text
    ('replicate', 'replicate:partial')
    """

    gradient: Literal["replicate", "partial"] = "replicate"

    def __post_init__(self) -> None:
        if self.gradient not in ("replicate", "partial"):
            raise InvalidArgument(f"the gradient of Replicate is {quoted(self.gradient)}; pass 'replicate' or 'partial'")

    @property
    def text(self) -> str:
        """The placement as the command line takes it."""
        return "replicate" if self.gradient == "replicate" else "replicate:partial"


@dataclass(frozen=True, slots=True)
class Shard:
    """Rank r holds part r of the tensor, cut into equal parts along dimension `dim`; so it does of the gradient.

    >>> Shard(0).text
    'shard:0'
    """

    dim: int

    def __post_init__(self) -> None:
        if type(self.dim) is not int:
            raise InvalidArgument(f"the dimension of Shard is {quoted(self.dim)}; pass a whole number: gl.Shard(0)")

    @property
    def text(self) -> str:
        """The placement as the command line takes it."""
        return f"shard:{self.dim}"


@dataclass(frozen=True, slots=True)
class Partial:
    """Each rank holds a term, and the tensor is the sum of all; the gradient of the sum is that of each term, whole on each.

    >>> Partial().text
    'partial'
    """

    @property
    def text(self) -> str:
        """The placement as the command line takes it."""
        return "partial"


Placement = Replicate | Shard | Partial


def placement_of(value: Any, what: str) -> Placement:
    """The placement that a user wrote for `what`. Raises `InvalidArgument` for anything else.

    >>> placement_of("shard:1", "x")
    Shard(dim=1)
    """
    if isinstance(value, Replicate | Shard | Partial):
        return value
    if isinstance(value, str):
        found = _TEXT.match(value.strip().lower())
        if found is not None:
            whole, terms, dim, _ = found.groups()
            return Replicate() if whole else Replicate("partial") if terms else Partial() if dim is None else Shard(int(dim))
    elif type(value).__module__.startswith(_TORCH):
        name = type(value).__name__
        if name == "Replicate":
            return Replicate()
        if name == "Shard":
            return Shard(value.dim)
        if name == "Partial" and getattr(value, "reduce_op", "sum") == "sum":
            return Partial()
    raise InvalidArgument(f"the placement of {what} is {quoted(value)}; {_EXAMPLE}")


def refuse_uneven(value: Any, placement: Placement, what: str, ranks: int) -> None:
    """Raise `InvalidArgument` for an input that cannot be placed so on this many ranks."""
    if isinstance(placement, Replicate):
        return
    if not isinstance(value, torch.Tensor):
        raise InvalidArgument(f"{what} is a {type(value).__name__} and is placed as {placement.text}; leave its placement out")
    if isinstance(placement, Partial):
        if not (value.is_floating_point() or value.is_complex()):
            dtype = str(value.dtype).removeprefix("torch.")
            raise InvalidArgument(f"{what} is {dtype}, which is not cut into the terms of a sum; replicate or shard it")
        return
    if not -value.ndim <= placement.dim < value.ndim:
        raise InvalidArgument(f"{what} is sharded along dimension {placement.dim} and has shape {tuple(value.shape)}")
    size = value.shape[placement.dim]
    if size % ranks:
        raise InvalidArgument(
            f"{what} has size {size} along dimension {placement.dim}, which {ranks} ranks cannot share evenly; "
            f"pass a multiple of {ranks}"
        )


def placed_on(value: torch.Tensor, placement: Placement, ranks: int, seed: int) -> list[torch.Tensor]:
    """What each rank holds of a tensor; part of one that is contiguous is contiguous too, else it lies as it lay.

    The terms of a partial one are its elements times powers of two that add up to one, another order of them in each element
    by `seed`: their sum is exact.
    """
    if isinstance(placement, Shard):
        parts = value.tensor_split(ranks, placement.dim)
        return [part.contiguous() for part in parts] if value.is_contiguous() else list(parts)
    if isinstance(placement, Partial):
        return terms_of(value, ranks, seed)
    return [value] * ranks


def terms_of(value: torch.Tensor, ranks: int, seed: int) -> list[torch.Tensor]:
    """Tensors of which `value` is the sum, one for each rank."""
    if ranks == 1:
        return [value]
    factors = torch.tensor([2.0, *(-(0.5**k) for k in range(1, ranks - 1)), -(0.5 ** (ranks - 2))], dtype=torch.float64)
    order = random_normal(torch.empty((ranks, *value.shape)), torch.Generator().manual_seed(seed)).argsort(0)
    dtype = value.dtype.to_real() if value.is_complex() else value.dtype
    return [_lying_as(value, value * factors[order[rank]].to(value.device, dtype)) for rank in range(ranks)]


def _lying_as(value: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
    """A term with the strides of the tensor that it is a term of, as far as these overlap in no element."""
    if value.is_contiguous() or 0 in value.stride():
        return term.contiguous()
    return torch.empty_strided(value.shape, value.stride(), dtype=term.dtype, device=term.device).copy_(term)


def whole_of(parts: Sequence[torch.Tensor], placement: Placement, rank: int) -> torch.Tensor:
    """The tensor that the ranks hold together: of a replicated one, what this rank holds."""
    if isinstance(placement, Shard):
        return torch.cat(list(parts), placement.dim)
    if isinstance(placement, Partial):
        return sum_of(parts)
    return parts[rank]


def sum_of(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum over the ranks."""
    return torch.stack(list(parts)).sum(0) if parts[0].dtype != torch.bool else torch.stack(list(parts)).any(0)


def upstream_on(value: torch.Tensor, placement: Placement, ranks: int, seed: int) -> list[torch.Tensor]:
    """The upstream gradient that each rank is given of an output: its part, all of it, or a term of it."""
    if isinstance(placement, Shard):
        return placed_on(value, placement, ranks, seed)
    if placement == Replicate("partial"):
        return terms_of(value, ranks, seed)
    return [value] * ranks
