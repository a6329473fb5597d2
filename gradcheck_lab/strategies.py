"""Hypothesis strategies that draw calls of an op from its specs.

Shapes, layouts, kinds of values and options are drawn, and shrunk, by Hypothesis; the numbers come from one drawn seed,
which keeps an example cheap however large its tensors are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from gradcheck_lab.case import Case, draw, draw_inputs
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.naming import option_names
from gradcheck_lab.op import Op
from gradcheck_lab.specs import Spec

Sizes = dict[str, tuple[int, ...]]
Layout = Callable[[torch.Tensor], torch.Tensor]
Profile = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Stretch = tuple[int, tuple[bool, ...]]  # dimensions kept, counted from the last; which of the last three are 1

# options that mean the same in every op that has them, and the values to try
OPTIONS: Mapping[str, tuple[Any, ...]] = {"reduction": ("mean", "sum", "none", "batchmean")}
_LEADING = 3  # dimensions that a `*` stands for at most
_WHOLE: Stretch = (_LEADING, (False, False, False))
_COLUMN: Stretch = (_LEADING, (False, False, True))
_LAST: Stretch = (1, (False, False, False))


def calls(op: Op, *, dtypes: Sequence[torch.dtype] = (torch.float64,), max_size: int = 5) -> st.SearchStrategy[Case]:
    """Draw calls of `op`: a `Case` with its inputs, options and seed.

    Any of the op's signatures is drawn. A dimension has 0 to `max_size` elements, `*name` stands for up to three of them,
    `#name` may be 1 and `*#name` lacks leading dimensions too, so that a rank-1 operand meets a column. Each tensor is
    contiguous, transposed, or a slice with steps and an offset; its numbers are ordinary, partly zero, full of ties, large or
    tiny. All floating inputs of a call share one of `dtypes`. Calls shrink to contiguous ordinary ones of size 1.

    Raises `InvalidArgument` for an op without specs, dtypes that are not floating, or a `max_size` below 1.
    Source of the method: MacIver and Donaldson, "Test-case reduction via test-case generation", ECOOP 2020.

    >>> from gradcheck_lab import ops
    >>> from hypothesis import given
    >>> @given(calls(ops.relu))
    ... def test_relu_keeps_the_shape(case):
    ...     assert ops.relu(*case.inputs).shape == case.inputs[0].shape
    >>> test_relu_keeps_the_shape()
    """
    if not isinstance(op, Op):
        raise InvalidArgument(f"calls are drawn for an op and a {type(op).__name__} was given; pass gl.Op(forward, backward)")
    if not op.signatures:
        raise InvalidArgument(f"{op.name} has no specs to draw from; declare them: gl.Op(..., specs=(real('n d'),))")
    if not dtypes or not all(isinstance(dtype, torch.dtype) and dtype.is_floating_point for dtype in dtypes):
        raise InvalidArgument(f"dtypes is {dtypes!r}; pass floating dtypes, such as (torch.float64,)")
    if not isinstance(max_size, int) or max_size < 1:
        raise InvalidArgument(f"max_size is {max_size!r}; pass a whole number of at least 1")
    options = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in _options(op).items()})
    shared = (st.sampled_from(list(dtypes)), options, st.integers(0, 2**32 - 1))
    return st.one_of([_of_signature(signature, max_size, shared) for signature in op.signatures])


def _of_signature(
    signature: tuple[Spec, ...], max_size: int, shared: tuple[st.SearchStrategy[Any], ...]
) -> st.SearchStrategy[Case]:
    def build(drawn: tuple[Any, ...]) -> Case:
        sizes, stretches, forms, dtype, options, seed = drawn
        generator = torch.Generator().manual_seed(seed)
        inputs = []
        for index, (spec, (profile, layout)) in enumerate(zip(signature, forms, strict=True)):
            mine = {name: _stretched(size, *stretches.get((index, name), _WHOLE)) for name, size in sizes.items()}
            value = draw(spec, mine, generator, dtype)
            if spec.kind in {"real", "positive"}:
                shaped = profile(value, generator)
                value = shaped if spec.kind == "real" else shaped.where(shaped > 0, value)
            inputs.append(layout(value))
        return Case(tuple(inputs), options, seed=seed, label="drawn")

    form = st.sampled_from(list(itertools.product(PROFILES.values(), LAYOUTS.values())))
    forms = st.tuples(*[form] * len(signature))
    return st.tuples(_sizes(signature, max_size), _stretches(signature), forms, *shared).map(build)


def _options(op: Op) -> dict[str, list[Any]]:
    """The options of `op` that `OPTIONS` knows, each with the values that its validators let through."""
    inputs = draw_inputs(op.specs, 0)
    names = [name for name in option_names(op.forward, len(inputs)) or () if name in OPTIONS]
    return {name: [value for value in OPTIONS[name] if _accepted(op, inputs, {name: value})] for name in names}


def _accepted(op: Op, inputs: Sequence[torch.Tensor], options: dict[str, Any]) -> bool:
    try:
        op.validate(inputs, options)
    except InvalidArgument:
        return False
    return True


def _sizes(signature: tuple[Spec, ...], max_size: int) -> st.SearchStrategy[Sizes]:
    """Draw the size of every letter, 0 more rarely, since it empties the call; at least 1 where labels count up to it."""
    counted = {spec.classes for spec in signature}
    some = list(range(1, max_size + 1))
    full = list(itertools.product(some[: max(2, (max_size + 1) // 2)], repeat=_LEADING))
    longest = st.sampled_from(full * 6 + [(*shape[:k], 0, *shape[k + 1 :]) for k in range(_LEADING) for shape in full])
    several = st.tuples(st.sampled_from([1, 2, 3, 0, 2, 3, 1, 2]), longest).map(lambda drawn: drawn[1][: drawn[0]])
    sizes: dict[str, st.SearchStrategy[tuple[int, ...]]] = {}
    for dim in (dim for spec in signature for dim in spec.dims):
        if dim.size is not None:
            sizes[dim.name] = st.just((dim.size,))
        elif dim.variadic:
            sizes[dim.name] = several
        else:
            sizes[dim.name] = st.tuples(st.sampled_from(some if dim.name in counted else some * 3 + [0]))
    return st.fixed_dictionaries(sizes)


def _stretches(signature: tuple[Spec, ...]) -> st.SearchStrategy[dict[tuple[int, str], Stretch]]:
    """Draw how each input broadcasts along its `#` dimensions: not at all, as rank-1 against column, or in any way."""
    ones = list(itertools.product([False, True], repeat=_LEADING))
    many = st.sampled_from(list(itertools.product([3, 3, 2, 1, 0], ones)))
    one = st.sampled_from([_WHOLE, _COLUMN])
    places = [(index, dim) for index, spec in enumerate(signature) for dim in spec.dims if dim.broadcast]
    if not places:
        return st.just({})
    crossed = [
        {(index, dim.name): (_COLUMN, _LAST if dim.variadic else _WHOLE)[(index + turn) % 2] for index, dim in places}
        for turn in (0, 1)
    ]
    free = st.fixed_dictionaries({(index, dim.name): many if dim.variadic else one for index, dim in places})
    return st.one_of(st.just({}), st.sampled_from(crossed), free, free)


def _stretched(sizes: tuple[int, ...], kept: int, ones: tuple[bool, ...]) -> tuple[int, ...]:
    """The last `kept` of `sizes`, 1 where `ones` says so; `ones` is aligned at the last dimension."""
    shape = [1 if one else size for size, one in zip(sizes, ones[_LEADING - len(sizes) :], strict=True)]
    return tuple(shape[max(0, len(shape) - kept) :])


def _ordinary(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value


def _zeros(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.masked_fill(torch.rand(value.shape, generator=generator) < 0.5, 0.0)


def _ties(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.round()


def _large(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(min(1e4, torch.finfo(value.dtype).max ** 0.25))  # a  multiplied are still finite


def _tiny(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(max(1e-8, torch.finfo(value.dtype).tiny ** 0.5))  # two multiplied are still normal numbers


PROFILES: Mapping[str, Profile] = {
    "ordinary": _ordinary,
    "zeros": _zeros,
    "ties": _ties,
    "large": _large,
    "tiny": _tiny,
}


def _contiguous(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous()


def _transposed(value: torch.Tensor) -> torch.Tensor:
    axes = tuple(reversed(range(value.ndim)))
    return value.permute(axes).contiguous().permute(axes)


def _sliced(value: torch.Tensor) -> torch.Tensor:
    room = value.new_zeros([2 * size + 1 for size in value.shape])
    part = room[tuple(slice(1, None, 2) for _ in value.shape)]
    return part.copy_(value)


LAYOUTS: Mapping[str, Layout] = {"contiguous": _contiguous, "transposed": _transposed, "sliced": _sliced}
