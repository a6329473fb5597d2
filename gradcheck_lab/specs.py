"""Specs of an op's inputs: the kind of values and the dimensions by name, as data that does not need torch.

A dimension letter is the same size everywhere in one call. `*batch` stands for any number of leading dimensions, `#n`
for `n` or 1, `*#batch` for any dimensions that broadcast against the other uses of `*#batch`; `4h` is four times `h`.
The notation follows einops and jaxtyping.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradcheck_lab.errors import InvalidArgument

_NAME = re.compile(r"^(\*?)(#?)([A-Za-z_][A-Za-z_0-9]*|[0-9]+)$|^([1-9][0-9]*)([A-Za-z_][A-Za-z_0-9]*)$")


@dataclass(frozen=True, slots=True)
class Dim:
    """One entry of a spec's dimensions: a name or a fixed size, variadic (`*`), broadcastable (`#`), or a multiple (`4h`)."""

    name: str
    variadic: bool = False
    broadcast: bool = False
    times: int = 1

    def shape(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The part of a shape that this entry stands for, from the sizes of its letter."""
        return tuple(self.times * size for size in sizes)

    @property
    def size(self) -> int | None:
        return int(self.name) if self.name.isdigit() else None

    def __str__(self) -> str:
        return "*" * self.variadic + "#" * self.broadcast + (str(self.times) if self.times > 1 else "") + self.name


DTYPES = {"labels": "int64", "integers": "int64", "mask": "bool"}  # of the kinds with a fixed dtype; they have no gradient


@dataclass(frozen=True, slots=True)
class Spec:
    """One input: `kind` of values, dimensions, and the letter that bounds integer values (`classes`)."""

    kind: str
    dims: tuple[Dim, ...]
    classes: str | None = None
    low: int = 0
    high: int = 10

    @property
    def differentiable(self) -> bool:
        return self.kind not in DTYPES

    def __str__(self) -> str:
        shape = " ".join(map(str, self.dims))
        extra = f", classes={self.classes!r}" if self.classes else ""
        extra += f", low={self.low}, high={self.high}" if self.kind == "integers" else ""
        return f"{self.kind}({shape!r}{extra})"


def real(dims: str) -> Spec:
    """A tensor of real numbers of either sign, shape `dims`.

    >>> str(real("*batch d"))
    "real('*batch d')"
    """
    return Spec("real", _dims(dims))


def positive(dims: str) -> Spec:
    """A tensor of numbers above zero, shape `dims`."""
    return Spec("positive", _dims(dims))


def nonzero(dims: str) -> Spec:
    """A tensor of numbers of either sign, none of them zero, shape `dims`."""
    return Spec("nonzero", _dims(dims))


def probabilities(dims: str) -> Spec:
    """Rows of numbers in [0, 1] that sum to one over the last dimension, shape `dims`."""
    return Spec("probabilities", _dims(dims))


def one_hot(dims: str) -> Spec:
    """Rows with a single one and zeros elsewhere, shape `dims`; floating, so a gradient is wanted."""
    return Spec("one_hot", _dims(dims))


def labels(dims: str, *, classes: str) -> Spec:
    """Class indices (int64) in [0, size of the dimension `classes`), shape `dims`; no gradient."""
    return Spec("labels", _dims(dims), classes=classes)


def integers(dims: str, *, low: int = 0, high: int = 10) -> Spec:
    """Integers (int64) in [low, high), shape `dims`; no gradient."""
    if high <= low:
        raise InvalidArgument(f"integers needs low < high and got low={low}, high={high}; widen the range")
    return Spec("integers", _dims(dims), low=low, high=high)


def mask(dims: str) -> Spec:
    """Booleans, shape `dims`; no gradient."""
    return Spec("mask", _dims(dims))


_KINDS: dict[str, Callable[..., Spec]] = {
    f.__name__: f for f in (real, positive, nonzero, probabilities, one_hot, labels, integers, mask)
}


def parse(text: str) -> Spec:
    """Read a spec as it is written in Python; only literals are understood, nothing is evaluated.

    >>> parse("labels('n', classes='c')").classes
    'c'

    Raises `InvalidArgument` for anything but a call of a spec with literal arguments.
    """
    example = "write it as real('n d') or labels('n', classes='c')"
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError
        arguments = [ast.literal_eval(value) for value in call.args]
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (ValueError, SyntaxError):
        raise InvalidArgument(f"the spec {text!r} cannot be read; {example}") from None
    kind = _KINDS.get(call.func.id)
    if kind is None:
        known = ", ".join(sorted(_KINDS))
        raise InvalidArgument(f"the spec {text!r} has an unknown kind {call.func.id!r}; known kinds: {known}")
    try:
        return kind(*arguments, **keywords)
    except TypeError as error:
        raise InvalidArgument(f"the spec {text!r} has wrong arguments ({error}); {example}") from None


def bind(specs: Sequence[Spec], shapes: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Give every dimension letter its size from the shapes of a call.

    Returns sizes by letter: a one-tuple for a plain dimension, all sizes for a variadic one.
    Raises `InvalidArgument` when a shape contradicts its spec or another input; the message shows both.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    owners: dict[str, str] = {}
    for spec, shape, name in zip(specs, shapes, names, strict=True):
        for dim, full in _split(spec, tuple(shape), name):
            known = sizes.get(dim.name)
            if full and full[0] % dim.times:
                raise InvalidArgument(
                    f"{name!r} has shape {tuple(shape)}, so '{dim}' is {_show(full)}, no multiple of {dim.times}; "
                    f"its spec is {spec}"
                )
            found = (full[0] // dim.times,) if dim.times > 1 else full
            merged = found if known is None else _merge(dim, known, found)
            if merged is None or (dim.size is not None and found != (dim.size,)):
                against = f"{owners[dim.name]!r} has {_show(known)}" if known else f"it is fixed to {dim.size}"
                against += f" for '{dim.name}'" if dim.times > 1 else ""
                raise InvalidArgument(
                    f"{name!r} has shape {tuple(shape)}, so '{dim}' is {_show(full)}, but {against}; its spec is {spec}"
                )
            if merged != known:
                sizes[dim.name] = merged
                owners[dim.name] = name
    return sizes


def _split(spec: Spec, shape: tuple[int, ...], name: str) -> list[tuple[Dim, tuple[int, ...]]]:
    variadic = [i for i, dim in enumerate(spec.dims) if dim.variadic]
    fixed = len(spec.dims) - len(variadic)
    if len(shape) < fixed or (not variadic and len(shape) != fixed):
        least = "at least " if variadic else ""
        raise InvalidArgument(f"{name!r} has shape {shape} with {len(shape)} dimensions; its spec {spec} needs {least}{fixed}")
    extra = len(shape) - fixed
    found, position = [], 0
    for dim in spec.dims:
        width = extra if dim.variadic else 1
        found.append((dim, shape[position : position + width]))
        position += width
    return found


def _merge(dim: Dim, known: tuple[int, ...], found: tuple[int, ...]) -> tuple[int, ...] | None:
    if not dim.broadcast:
        return known if known == found else None
    length = max(len(known), len(found))
    left = (1,) * (length - len(known)) + known
    right = (1,) * (length - len(found)) + found
    if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))


def _show(sizes: tuple[int, ...] | None) -> str:
    return str(sizes[0]) if sizes and len(sizes) == 1 else str(sizes)


def _dims(text: str) -> tuple[Dim, ...]:
    if not isinstance(text, str):
        raise InvalidArgument(f"the dimensions {text!r} are a {type(text).__name__}; write them as text, such as 'n d'")
    dims = []
    for token in text.split():
        match = _NAME.match(token)
        if match is None:
            raise InvalidArgument(
                f"the dimension {token!r} in {text!r} cannot be read; write a name, a size, '*name' or '#name'"
            )
        star, hash_, name, times, part = match.groups()
        dims.append(Dim(name or part, variadic=bool(star), broadcast=bool(hash_), times=int(times or 1)))
    if sum(dim.variadic for dim in dims) > 1:
        raise InvalidArgument(f"the spec {text!r} has more than one '*' dimension; keep one")
    return tuple(dims)
