"""Hypothesis strategies that draw calls of an op, and tensors, from specs.

Shapes, layouts, kinds of values and options are drawn, and shrunk, by Hypothesis; the numbers come from one drawn seed,
which keeps an example cheap however large its tensors are. With `elements=` small tensors are drawn number by number instead,
so that numbers shrink too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.kinds import KINDS, PROFILES
from gradcheck_lab.calls.layouts import LAYOUTS
from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.discovery.signatures import read_signature
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.portable import read
from gradcheck_lab.fuzzing.signatures import OPTIONS, known_options
from gradcheck_lab.fuzzing.strategy import _refuse_dtypes, recipes
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.specs import Spec
from gradcheck_lab.subjects.contained import UsersCode

__all__ = ["LAYOUTS", "OPTIONS", "PROFILES", "calls", "load", "rank1_trap", "recipes", "tensors"]

_BY_ELEMENT = 16  # a tensor with more elements is drawn by its seed all the same


def calls(
    op: Op,
    *,
    dtypes: Sequence[torch.dtype] = (torch.float64,),
    max_size: int = 5,
    elements: st.SearchStrategy[float] | None = None,
) -> st.SearchStrategy[Case]:
    """Draw calls of `op`: a `Case` with its inputs, options and seed.

    Any of the op's signatures is drawn. A dimension has 0 to `max_size` elements, `*name` stands for up to three of them,
    `#name` may be 1 and `*#name` lacks leading dimensions too, so that a rank-1 operand meets a column. Some input and some
    output has elements, since nothing could be compared otherwise. Each tensor is contiguous, transposed, a slice with steps,
    at an offset, or expanded; its numbers are ordinary, partly zero, full of ties, large or tiny. All floating inputs of a call
    share one of `dtypes`. `elements` draws the numbers of small real tensors one by one. Options are those of the op's
    `choices`, or `OPTIONS`. Calls shrink to contiguous ordinary ones of size 1.

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
    drawn = recipes(op.signatures, _sizes(max_size), dtypes, known_options(op, op.specs))
    cases = _with_elements(drawn, elements).map(CallRecipe.build)

    def taken(case: Case) -> bool:
        if op.refuses and not op.takes(case.inputs, dict(case.options)):
            return False
        return any(value.numel() for value in case.inputs if is_differentiable(value)) and _has_output(op, case)

    return cases.filter(taken)


def _has_output(op: Op, case: Case) -> bool:
    """Whether an output has elements; True where the forward does not take the case, which its check then says."""
    with preserved_randomness(case.seed), torch.no_grad():
        try:
            with UsersCode():
                outputs = as_tuple(op.forward(*case.inputs, **case.options))
        except Exception:
            return True
    return any(value.numel() for value in outputs if isinstance(value, torch.Tensor))


def tensors(
    *specs: Spec | str,
    dtypes: Sequence[torch.dtype] = (torch.float64,),
    max_size: int = 5,
    elements: st.SearchStrategy[float] | None = None,
) -> st.SearchStrategy[Any]:
    """Draw the tensor of a spec, or of several specs a tuple of tensors in which each letter has one size.

    `specs` are as in `gradcheck_lab.specs`, or their texts; the rest is as in `calls`.

    >>> from hypothesis import given
    >>> from gradcheck_lab.specs import real
    >>> @given(tensors(real("n d"), real("d")))
    ... def test_rows_meet_a_vector(drawn):
    ...     x, v = drawn
    ...     assert (x + v).shape == x.shape
    >>> test_rows_meet_a_vector()
    """
    signature = read_signature(specs)
    if not signature:
        raise InvalidArgument("tensors was given no spec; pass one per tensor, such as real('n d')")
    drawn = _with_elements(recipes((signature,), _sizes(max_size), dtypes, {}), elements)
    if len(signature) == 1:
        return drawn.map(lambda recipe: recipe.tensors[0].build())
    return drawn.map(lambda recipe: tuple(tensor.build() for tensor in recipe.tensors))


def rank1_trap(
    *, dtypes: Sequence[torch.dtype] = (torch.float64,), max_size: int = 5
) -> st.SearchStrategy[tuple[torch.Tensor, torch.Tensor]]:
    """Draw two tensors of as many elements that broadcast, where they should be refused: (n, 1) and (n,), in either order.

    `(pred - target) ** 2` of such a pair has n² elements, without an error. n is 2 to `max_size`.

    >>> from hypothesis import given
    >>> @given(rank1_trap())
    ... def test_the_difference_is_a_matrix(pair):
    ...     assert (pair[0] - pair[1]).numel() == pair[0].numel() ** 2
    >>> test_the_difference_is_a_matrix()
    """
    _refuse_dtypes(dtypes)
    if not isinstance(max_size, int) or max_size < 2:
        raise InvalidArgument(f"max_size is {max_size!r}; pass a whole number of at least 2, for a pair that broadcasts")

    def build(drawn: tuple[int, bool, torch.dtype, int]) -> tuple[torch.Tensor, torch.Tensor]:
        n, swapped, dtype, seed = drawn
        shapes = ((n,), (n, 1)) if swapped else ((n, 1), (n,))
        first, second = (TensorRecipe("real", shape, dtype, seed=seed + i).build() for i, shape in enumerate(shapes))
        return first, second

    return st.tuples(
        st.integers(2, max_size), st.booleans(), st.sampled_from(list(dtypes)), st.integers(0, 2**32 - 2)
    ).map(build)  # fmt: skip


def load(path: str | Path) -> Case:
    """The call in a file that `gl.fuzz` saved, for `@example(load(path))` above a test of `calls(op)`.

    Raises `InvalidArgument` for a file that is not one.
    """
    return read(path).call.build("saved")


def _with_elements(
    drawn: st.SearchStrategy[CallRecipe], elements: st.SearchStrategy[float] | None
) -> st.SearchStrategy[CallRecipe]:
    if elements is None:
        return drawn
    if not isinstance(elements, st.SearchStrategy):
        raise InvalidArgument(f"elements is a {type(elements).__name__}; pass a strategy of numbers, such as st.floats(-3, 3)")

    @st.composite
    def written(draw: st.DrawFn) -> CallRecipe:
        recipe = draw(drawn)
        return replace(recipe, tensors=tuple(_by_element(draw, tensor, elements) for tensor in recipe.tensors))

    return written()


def _by_element(draw: st.DrawFn, tensor: TensorRecipe, elements: st.SearchStrategy[float]) -> TensorRecipe:
    count = torch.Size(tensor.shape).numel()
    kind = KINDS[tensor.kind]
    if not kind.elementwise or count > _BY_ELEMENT:
        return tensor
    within = kind.contains
    allowed = elements if within is None else elements.filter(lambda value: bool(within(torch.tensor(value))))
    return replace(tensor, values=tuple(draw(st.lists(allowed, min_size=count, max_size=count))))


def _sizes(max_size: int) -> tuple[int, ...]:
    if not isinstance(max_size, int) or max_size < 1:
        raise InvalidArgument(f"max_size is {max_size!r}; pass a whole number of at least 1")
    return tuple(range(1, max_size + 1))
