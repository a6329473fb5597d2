"""Draw an ordinary call from the specs of its inputs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.kinds import KINDS, values_of_kind
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Dim, Spec

_SIZES = (5, 3, 7, 2, 11, 4)


_ATTEMPTS = 2000


def draw_inputs(
    specs: Sequence[Spec],
    seed: int,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, ...]:
    """Draw one tensor per spec; letters without a size get 5, 3, 7, 2, 11, 4 in turn, variadic ones a single dimension.

    Raises `InvalidArgument` when labels count their classes by a letter that no input has.
    """
    generator = torch.Generator().manual_seed(seed)
    known = dict(sizes or {})
    spare = iter(_SIZES * len(specs))
    for spec in specs:
        for dim in spec.dims:
            if dim.name not in known:
                known[dim.name] = (dim.size,) if dim.size is not None else (next(spare),)
    for spec in specs:
        if spec.classes is not None and spec.classes not in known:
            raise InvalidArgument(
                f"{spec} counts its classes by {spec.classes!r}, which is no dimension of any input; "
                f"use one of {', '.join(map(repr, known))}"
            )
    return tuple(draw(spec, known, generator, dtype) for spec in specs)


def ordinary_call(
    op: Any,
    signature: Sequence[Spec],
    seed: int,
    options: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """Draw an ordinary call that the validators of `op` accept.

    The sizes are those of `draw_inputs`; where an op refuses them (a kernel larger than its image), others up to 8 are tried,
    first with the given options, then with values of its `choices` as well. Where no
    attempt is accepted, or `op` is no `gl.Op`, the first draw is returned.
    """
    given = dict(options or {})
    first = Case(draw_inputs(signature, seed, dtype=dtype), given, seed=seed)
    takes = getattr(op, "takes", None)
    if takes is None or takes(first.inputs, given):
        return first
    choices: Mapping[str, Sequence[Any]] = op.choices
    pick = random.Random(seed)
    for attempt in range(_ATTEMPTS):
        sizes = {d.name: _sizes_of(d, pick, attempt) for spec in signature for d in spec.dims if d.size is None}
        inputs = draw_inputs(signature, seed, sizes, dtype)
        chosen = {name: pick.choice(values) for name, values in choices.items()} if attempt > _ATTEMPTS // 4 else {}
        if takes(inputs, {**chosen, **given}):
            return Case(inputs, {**chosen, **given}, seed=seed)
    return first


def _sizes_of(dim: Dim, pick: random.Random, attempt: int) -> tuple[int, ...]:
    count = pick.randint(1, 3) if dim.variadic and attempt > _ATTEMPTS // 4 else 1
    return tuple(pick.randint(2 if attempt < _ATTEMPTS // 2 else 1, 8) for _ in range(count))


def draw(spec: Spec, sizes: Mapping[str, tuple[int, ...]], generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Draw the tensor of one spec, with the size of every letter."""
    shape = [size for dim in spec.dims for size in dim.shape(sizes[dim.name])]
    low, high = (0, max(1, sizes[str(spec.classes)][0])) if spec.classes is not None else (spec.low, spec.high)
    return draw_kind(spec.kind, shape, generator, dtype, low, high)


def draw_kind(
    kind: str, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype, low: int = 0, high: int = 10
) -> torch.Tensor:
    """Draw a tensor of a kind of values; labels and integers lie in [low, high)."""
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values_of_kind(kind, normal, generator, low, high).to(KINDS[kind].dtype or dtype)
