"""Hypothesis strategies that draw calls of an op from its specs.

Shapes, layouts, kinds of values and options are drawn, and shrunk, by Hypothesis; the numbers come from one drawn seed,
which keeps an example cheap however large its tensors are.
"""

from __future__ import annotations

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

# options that mean the same in every op that has them, and the values to try
OPTIONS: Mapping[str, tuple[Any, ...]] = {"reduction": ("mean", "sum", "none", "batchmean")}


def calls(op: Op, *, dtypes: Sequence[torch.dtype] = (torch.float64,), max_size: int = 5) -> st.SearchStrategy[Case]:
    """Draw calls of `op`: a `Case` with its inputs, options and seed.

    Any of the op's signatures is drawn. A dimension has 0 to `max_size` elements, `*name` stands for up to three of them,
    `#name` may be 1 and `*#name` lacks leading dimensions too, so that a rank-1 operand meets a column. Each tensor is
    contiguous, transposed, or a slice with steps and an offset; its numbers are ordinary, partly zero, full of ties, large or
    tiny. All floating inputs of a call share one of `dtypes`. Calls shrink to contiguous ordinary ones of size 1.

    Raises `InvalidArgument` for an op without specs, dtypes that are not floating, or a `max_size` below 1.
    Source of the design: MacIver and Donaldson, "Test-case reduction via test-case generation", ECOOP 2020.

    >>> from gradcheck_lab import ops
    >>> from hypothesis import given
    >>> @given(calls(ops.relu))
    ... def test_relu_keeps_the_shape(case):
    ...     assert ops.relu(*case.inputs).shape == case.inputs[0].shape
    >>> test_relu_keeps_the_shape()
    """
    if not isinstance(op, Op):
        raise InvalidArgument(f"calls draws for an op and got a {type(op).__name__}; pass gl.Op(forward, backward, specs=...)")
    if not op.signatures:
        raise InvalidArgument(f"{op.name} has no specs to draw from; declare them: gl.Op(forward, backward, specs=(real('n d'),))")
    dtypes = tuple(dtypes)
    if not dtypes or not all(isinstance(dtype, torch.dtype) and dtype.is_floating_point for dtype in dtypes):
        raise InvalidArgument(f"dtypes is {dtypes!r}; pass floating dtypes such as (torch.float64,)")
    if not isinstance(max_size, int) or max_size < 1:
        raise InvalidArgument(f"max_size is {max_size!r}; pass a whole number of at least 1")
    return _calls(op, dtypes, max_size, _options(op))


@st.composite
def _calls(
    draw_from: st.DrawFn, op: Op, dtypes: tuple[torch.dtype, ...], max_size: int, options: Mapping[str, list[Any]]
) -> Case:
    signature = draw_from(st.sampled_from(op.signatures))
    dtype = draw_from(st.sampled_from(dtypes))
    sizes = draw_from(_sizes(signature, max_size))
    shapes = [draw_from(_variant(spec, sizes)) for spec in signature]
    forms = [(draw_from(st.sampled_from([*PROFILES])), draw_from(st.sampled_from([*LAYOUTS]))) for _ in signature]
    chosen = {name: draw_from(st.sampled_from(values)) for name, values in options.items()}
    seed = draw_from(st.integers(0, 2**32 - 1))
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for spec, shape, (profile, layout) in zip(signature, shapes, forms, strict=True):
        value = draw(spec, shape, generator, dtype)
        if spec.kind in {"real", "positive"}:
            value = PROFILES[profile](value, spec, generator)
        inputs.append(LAYOUTS[layout](value))
    return Case(tuple(inputs), chosen, seed=seed, label="drawn")


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


@st.composite
def _sizes(draw_from: st.DrawFn, signature: tuple[Spec, ...], max_size: int) -> Sizes:
    """Draw the size of every letter; a letter that labels count up to is at least 1, since no label fits below it."""
    counted = {spec.classes for spec in signature}
    positive_sizes = list(range(1, max_size + 1))
    one = st.sampled_from(positive_sizes * 2 + [0])  # a size of 0 empties the whole call: keep it rarer
    several = st.lists(st.sampled_from(positive_sizes[: max(2, max_size // 2)] * 4 + [0]), max_size=3).map(tuple)
    sizes: Sizes = {}
    for dim in (dim for spec in signature for dim in spec.dims):
        if dim.name in sizes:
            continue
        if dim.size is not None:
            sizes[dim.name] = (dim.size,)
        elif dim.variadic:
            sizes[dim.name] = draw_from(several)
        else:
            sizes[dim.name] = (draw_from(st.sampled_from(positive_sizes) if dim.name in counted else one),)
    return sizes


@st.composite
def _variant(draw_from: st.DrawFn, spec: Spec, sizes: Sizes) -> Sizes:
    """Draw what one input takes of the joint sizes: 1 where it broadcasts, leading dimensions left out."""
    found = dict(sizes)
    for dim in spec.dims:
        if dim.broadcast:
            joint = sizes[dim.name]
            missing = draw_from(st.integers(0, len(joint))) if dim.variadic else 0
            found[dim.name] = tuple(1 if draw_from(st.booleans()) else size for size in joint[missing:])
    return found


Profile = Callable[[torch.Tensor, Spec, torch.Generator], torch.Tensor]


def _ordinary(value: torch.Tensor, spec: Spec, generator: torch.Generator) -> torch.Tensor:
    return value


def _zeros(value: torch.Tensor, spec: Spec, generator: torch.Generator) -> torch.Tensor:
    if spec.kind == "positive":
        return value
    kept = torch.rand(value.shape, generator=generator) < 0.5
    return torch.where(kept, value, torch.zeros_like(value))


def _ties(value: torch.Tensor, spec: Spec, generator: torch.Generator) -> torch.Tensor:
    return value.ceil() if spec.kind == "positive" else value.round()


def _large(value: torch.Tensor, spec: Spec, generator: torch.Generator) -> torch.Tensor:
    return value * min(1e4, torch.finfo(value.dtype).max ** 0.25)  # a few may be multiplied and still be finite


def _tiny(value: torch.Tensor, spec: Spec, generator: torch.Generator) -> torch.Tensor:
    return value * max(1e-8, torch.finfo(value.dtype).tiny ** 0.5)  # two multiplied are still normal numbers


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


LAYOUTS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": _contiguous,
    "transposed": _transposed,
    "sliced": _sliced,
}
