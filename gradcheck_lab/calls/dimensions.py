"""Which dimensions of a call are the same size by meaning: by the letters of the specs, else by equal sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.resemblance import Structure, resembling, structure_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Spec, bind

Sizes = Mapping[str, int]
_PARTS = 8
LARGEST_DERIVED = 1 << 14  # elements that a derived call may have where it cannot be made smaller


@dataclass(frozen=True, slots=True)
class Letters:
    """The letter of every dimension of every input (None: fixed), and each letter's size in the call.

    `batch` is the letter of the first dimension, `leading` the inputs that carry it there, `declared` whether specs gave them.
    """

    axes: tuple[tuple[str | None, ...], ...]
    sizes: Sizes
    declared: bool
    classes: Mapping[int, str]
    declared_multiples: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    _structures: dict[int, tuple[torch.Tensor, Structure]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def batch(self) -> str | None:
        return next((letters[0] for letters in self.axes if letters and letters[0] is not None), None)

    @property
    def leading(self) -> tuple[int, ...]:
        return tuple(
            i for i, letters in enumerate(self.axes) if letters and letters[0] == self.batch and self.batch is not None
        )

    @property
    def multiples(self) -> dict[str, tuple[str, int]]:
        """Letters whose size is a small multiple of another's at the same axis of another input whose other axes are the same.

        No broadcasting allows that: the forward splits one of them into parts, as the gates of a cell.
        """
        found: dict[str, tuple[str, int]] = dict(self.declared_multiples)
        if self.declared:
            return found
        for one, other in itertools.permutations([letters for letters in self.axes if len(letters) > 1], 2):
            differ = [(a, b) for a, b in zip(one, other, strict=False) if a != b] if len(one) == len(other) else []
            if len(differ) == 1 and None not in differ[0]:
                large, small = (str(letter) for letter in differ[0])
                times, rest = divmod(self.sizes[large], self.sizes[small])
                if rest == 0 and 2 <= times <= _PARTS:
                    found[large] = small, times
        return found

    def related(self, sizes: Sizes) -> dict[str, int]:
        """Sizes in which the multiples are kept."""
        return {**sizes, **{large: times * sizes[small] for large, (small, times) in self.multiples.items()}}

    def untied(self, given: Sequence[Any]) -> Iterator[Letters]:
        """Where sizes were only equal: a letter's occurrences in two parts, by input or by axis, which need not be one size.

        The second part of letter `n` is called `n'`, and is as large as `n` was. Rows that labels and inputs of another rank
        share stay tied: a forward may take other numbers of them by accident.
        """
        if self.declared:
            return
        alike = len({v.ndim for v in given if isinstance(v, torch.Tensor)}) == 1 and all(map(is_differentiable, given))
        for letter in self.sizes:
            places = [(i, k) for i, letters in enumerate(self.axes) for k, other in enumerate(letters) if other == letter]
            rows = [p for p in places if p[1] == 0]
            if not alike and len(rows) > 1:
                continue
            seen: set[frozenset[tuple[int, int]]] = {frozenset(), frozenset(places)}
            by_input = [frozenset(p for p in places if p[0] == i) for i in dict.fromkeys(i for i, _ in places)]
            ends = {p: p[1] - len(self.axes[p[0]]) for p in places}
            by_axis = [frozenset(p for p in places if ends[p] == end) for end in dict.fromkeys(ends.values())]
            for part in (*by_axis, *by_input, *(frozenset({p}) for p in places)):
                if part not in seen:
                    seen |= {part, frozenset(places) - part}
                    yield self._split(letter, part)

    def _split(self, letter: str, part: frozenset[tuple[int, int]]) -> Letters:
        other = f"{letter}'"
        axes = tuple(
            tuple(other if (i, k) in part else name for k, name in enumerate(letters)) for i, letters in enumerate(self.axes)
        )
        return replace(self, axes=axes, sizes={**self.sizes, other: self.sizes[letter]})

    def inputs(self, given: Sequence[Any], sizes: Sizes, seed: int, lead: int | None = None) -> tuple[Any, ...]:
        """Inputs like the given ones with these sizes, those that carry the batch with one more leading dimension `lead`."""
        generator = torch.Generator().manual_seed(seed)
        sizes = self.related(sizes)
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
            shape = (lead, *shapes[i]) if lead is not None and i in self.leading else shapes[i]
            made.append(self._value(i, value, shape, sizes, generator))
        return tuple(made)

    def _value(
        self, index: int, value: torch.Tensor, shape: tuple[int, ...], sizes: Sizes, generator: torch.Generator
    ) -> torch.Tensor:
        if value.dtype == torch.bool:
            return _mixed_rows(value, resembling(value, shape, generator))
        if is_differentiable(value) or not value.numel():
            return resembling(value, shape, generator, self._structure(index, value))
        low, high = int(value.min()), int(value.max())
        bound = sizes.get(self.classes.get(index, ""))
        if low >= 0:
            high = min(high, bound - 1) if bound is not None else high
            drawn = torch.randint(min(low, max(high, 0)), max(high, 0) + 1, shape, generator=generator)
            return drawn.to(value.device, value.dtype)
        picked = resembling(value, shape, generator)
        return picked.clamp(max=bound - 1) if bound else picked

    def _structure(self, index: int, value: torch.Tensor) -> Structure:
        """The structure of an input, looked at once for all the shapes that it is drawn in."""
        known = self._structures.get(index)
        if known is None or known[0] is not value:
            known = self._structures[index] = (value, structure_of(value))
        return known[1]


def _mixed_rows(given: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """A mask none of whose rows is of one kind throughout where no row of the given one is: that is a case apart."""
    if not given.numel() or not drawn.numel() or not drawn.ndim or drawn.shape[-1] < 2 or not given.ndim:
        return drawn
    for kind in (True, False):
        if not bool((given == kind).all(-1).any()):
            whole = (drawn == kind).all(-1)
            drawn = drawn.clone()
            drawn[..., 0] = torch.where(whole, not kind, drawn[..., 0])
    return drawn


def letters_of(given: Sequence[Any], specs: Sequence[Spec]) -> Letters:
    """The letters of a call; where no specs fit, dimensions of one size share a letter and those of size 1 stay as they are."""
    if len(specs) == len(given) and all(isinstance(v, torch.Tensor) for v in given):
        try:
            return _declared(given, specs)
        except InvalidArgument:  # another signature of the op: its sizes tell
            pass
    axes = tuple(
        tuple(str(n) if n > 1 else None for n in value.shape) if isinstance(value, torch.Tensor) else () for value in given
    )
    sizes = {letter: int(letter) for letters in axes for letter in letters if letter is not None}
    return Letters(axes, sizes, False, _classes(given, axes, sizes))


def _declared(given: Sequence[Any], specs: Sequence[Spec]) -> Letters:
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
    return Letters(tuple(axes), sizes, True, classes, multiples)


def _classes(given: Sequence[Any], axes: Sequence[Sequence[str | None]], sizes: Sizes) -> dict[int, str]:
    """For integer inputs, the letter that bounds their values: the tightest dimension of a floating input that holds them."""
    found = {}
    floating = {letter for v, letters in zip(given, axes, strict=True) if is_differentiable(v) for letter in letters if letter}
    for i, value in enumerate(given):
        if isinstance(value, torch.Tensor) and not is_differentiable(value) and value.dtype != torch.bool and value.numel():
            fits = [(sizes[letter], letter) for letter in floating - set(axes[i]) if sizes[letter] > int(value.max())]
            if fits:
                found[i] = min(fits)[1]
    return found
