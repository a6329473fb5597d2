"""Which dimensions of a call always have the same size: those with the same letter in the specs, else those of equal size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.masks import hides_scores
from gradcheck_lab.calls.similar_values import Structures, similar_values, with_mixed_rows
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Spec, bind

Sizes = Mapping[str, int]
_PARTS = 8
LARGEST_DERIVED = 1 << 14  # the largest number of elements of a derived call that cannot be made smaller


@dataclass(frozen=True, slots=True)
class NamedDimensions:
    """The dimensions of a call's inputs by letter; dimensions with the same letter have the same size.

    `axes` has the letters of each input, None for a dimension whose size is fixed. `sizes` has the size of each letter in the
    call. `declared` says whether the letters come from specs or were inferred from equal sizes. `classes` maps an integer input
    to the letter that bounds its values. `declared_multiples` maps a letter such as `4h` to `("h", 4)`. No multiple is inferred
    for the letters in `free`.
    """

    axes: tuple[tuple[str | None, ...], ...]
    sizes: Sizes
    declared: bool
    classes: Mapping[int, str]
    declared_multiples: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    _structures: Structures = field(default_factory=Structures, repr=False, compare=False)

    @property
    def batch(self) -> str | None:
        """The letter of the batch dimension: the first dimension of the first input that has a letter there."""
        return next((letters[0] for letters in self.axes if letters and letters[0] is not None), None)

    @property
    def batch_inputs(self) -> tuple[int, ...]:
        """The inputs, by index, whose first dimension is the batch dimension."""
        return tuple(
            i for i, letters in enumerate(self.axes) if letters and letters[0] == self.batch and self.batch is not None
        )

    @property
    def multiples(self) -> dict[str, tuple[str, int]]:
        """Each letter whose size is a multiple of another letter's size, with that letter and the factor.

        Where no specs declare them, they are inferred: two inputs differ in one axis only, and one size there is 2 to 8 times
        the other. Broadcasting would not accept such sizes, so the forward splits the larger into parts, like an LSTM's gates.
        """
        found: dict[str, tuple[str, int]] = dict(self.declared_multiples)
        if self.declared:
            return found
        for one, other in itertools.permutations([letters for letters in self.axes if len(letters) > 1], 2):
            differ = [(a, b) for a, b in zip(one, other, strict=False) if a != b] if len(one) == len(other) else []
            if len(differ) == 1 and None not in differ[0] and differ[0][0] not in self.free:
                large, small = (str(letter) for letter in differ[0])
                times, rest = divmod(self.sizes[large], self.sizes[small])
                if rest == 0 and 2 <= times <= _PARTS:
                    found[large] = small, times
        return found

    def with_multiples(self, sizes: Sizes) -> dict[str, int]:
        """`sizes`, with the letters that are multiples of another computed from it."""
        return {**sizes, **{large: times * sizes[small] for large, (small, times) in self.multiples.items()}}

    def with_independent_sizes(self, given: Sequence[Any]) -> Iterator[NamedDimensions]:
        """Variants in which some dimensions of an inferred letter get a new letter, so that their size can differ.

        Equal sizes in one call may be chance. The occurrences of a letter are separated by input, by axis, one at a time, or
        two of different inputs, as those that a product sums over. The new letter of `n` is `n'`, of the same size. The first
        dimensions of labels or of inputs of another rank are not separated: a forward may accept unequal numbers of rows there
        by accident. Nothing is yielded for declared letters.
        """
        if self.declared:
            return
        for letter in self.sizes:
            places = [(i, k) for i, letters in enumerate(self.axes) for k, other in enumerate(letters) if other == letter]
            rows = [p for p in places if p[1] == 0]
            alike = len({given[i].ndim for i, _ in rows}) < 2 and all(is_differentiable(given[i]) for i, _ in rows)
            seen: set[frozenset[tuple[int, int]]] = {frozenset(), frozenset(places)}
            by_input = [frozenset(p for p in places if p[0] == i) for i in dict.fromkeys(i for i, _ in places)]
            ends = {p: p[1] - len(self.axes[p[0]]) for p in places}
            by_axis = [frozenset(p for p in places if ends[p] == end) for end in dict.fromkeys(ends.values())]
            pairs = [frozenset(pair) for pair in itertools.combinations(places, 2) if pair[0][0] != pair[1][0]]
            for part in (*by_axis, *by_input, *(frozenset({p}) for p in places), *pairs):
                if part not in seen and (alike or len({p in part for p in rows}) < 2):
                    seen |= {part, frozenset(places) - part}
                    yield self.split(letter, part)

    def split(self, letter: str, part: frozenset[tuple[int, int]]) -> NamedDimensions:
        """Give some occurrences of `letter`, pairs of an input and an axis, the new letter `letter'`."""
        other = f"{letter}'"
        axes = tuple(
            tuple(other if (i, k) in part else name for k, name in enumerate(letters)) for i, letters in enumerate(self.axes)
        )
        return replace(self, axes=axes, sizes={**self.sizes, other: self.sizes[letter]})

    def inputs(self, given: Sequence[Any], sizes: Sizes, seed: int, lead: int | None = None) -> tuple[Any, ...]:
        """Draw inputs similar to `given` with these sizes.

        `lead` is the size of one more leading dimension, which `batch_inputs` get.
        """
        generator = torch.Generator().manual_seed(seed)
        sizes = self.with_multiples(sizes)
        shapes = [
            tuple(n if letter is None else sizes[letter] for letter, n in zip(letters, value.shape, strict=True))
            if isinstance(value, torch.Tensor) else ()
            for letters, value in zip(self.axes, given, strict=True)
        ]  # fmt: skip
        made = []
        for i, value in enumerate(given):
            if not isinstance(value, torch.Tensor):
                made.append(value)
                continue
            shape = (lead, *shapes[i]) if lead is not None and i in self.batch_inputs else shapes[i]
            made.append(self._value(i, value, shape, sizes, generator))
        return tuple(made)

    def _value(
        self, index: int, value: torch.Tensor, shape: tuple[int, ...], sizes: Sizes, generator: torch.Generator
    ) -> torch.Tensor:
        if value.dtype == torch.bool or hides_scores(value):
            return with_mixed_rows(value, similar_values(value, shape, generator))
        if is_differentiable(value) or not value.numel():
            return similar_values(value, shape, generator, self._structures.of(value))
        low, high = int(value.min()), int(value.max())
        bound = sizes.get(self.classes.get(index, ""))
        if low >= 0:
            high = min(high, bound - 1) if bound is not None else high
            drawn = torch.randint(min(low, max(high, 0)), max(high, 0) + 1, shape, generator=generator)
            return drawn.to(value.device, value.dtype)
        picked = similar_values(value, shape, generator)
        return picked.clamp(max=bound - 1) if bound else picked


def dimensions_of(given: Sequence[Any], specs: Sequence[Spec]) -> NamedDimensions:
    """The named dimensions of a call: from `specs` where they fit, else inferred.

    Inferred, dimensions of equal size share a letter, and the size of a dimension of size 1 is fixed.
    """
    if len(specs) == len(given) and all(isinstance(v, torch.Tensor) for v in given):
        try:
            return _declared(given, specs)
        except InvalidArgument:  # the call fits another signature of the op: infer from its sizes
            pass
    axes = tuple(
        tuple(str(n) if n > 1 else None for n in value.shape) if isinstance(value, torch.Tensor) else () for value in given
    )
    sizes = {letter: int(letter) for letters in axes for letter in letters if letter is not None}
    return NamedDimensions(axes, sizes, False, _classes(given, axes, sizes))


def _declared(given: Sequence[Any], specs: Sequence[Spec]) -> NamedDimensions:
    bound = bind(specs, [v.shape for v in given], [str(i) for i in range(len(given))])
    axes, sizes, classes, multiples = [], {}, {}, {}
    for i, (spec, value) in enumerate(zip(specs, given, strict=True)):
        letters: list[str | None] = []
        extra = value.ndim - sum(not dim.variadic for dim in spec.dims)
        for dim in spec.dims:
            width = extra if dim.variadic else 1
            full = bound[dim.name][len(bound[dim.name]) - width :] if width else ()
            for k, size in enumerate(full):
                letter = f"{dim.name}.{width - k}" if dim.variadic else str(dim) if dim.times > 1 else dim.name
                fixed = dim.size is not None or (dim.broadcast and value.shape[len(letters)] != size)
                letters.append(None if fixed else letter)
                if not fixed:
                    sizes[letter] = dim.times * size
                if dim.times > 1:
                    multiples[letter] = dim.name, dim.times
                    sizes.setdefault(dim.name, size)
        axes.append(tuple(letters))
        if spec.classes is not None:
            classes[i] = spec.classes
    return NamedDimensions(tuple(axes), sizes, True, classes, multiples)


def _classes(given: Sequence[Any], axes: Sequence[Sequence[str | None]], sizes: Sizes) -> dict[int, str]:
    """For each integer input, the letter that bounds its values: of floating inputs, the smallest dimension above them all."""
    found = {}
    floating = {letter for v, letters in zip(given, axes, strict=True) if is_differentiable(v) for letter in letters if letter}
    for i, value in enumerate(given):
        if isinstance(value, torch.Tensor) and not is_differentiable(value) and value.dtype != torch.bool and value.numel():
            fits = [(sizes[letter], letter) for letter in floating - set(axes[i]) if sizes[letter] > int(value.max())]
            if fits:
                found[i] = min(fits)[1]
    return found
