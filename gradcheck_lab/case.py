"""One concrete call: inputs, grad_outputs, options and seed; and how its random numbers are drawn."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Dim, Spec, bind

_PERIOD = 99991
_SIZES = (5, 3, 7, 2, 11, 4)
_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a subject: positional inputs, keyword options, an upstream gradient per output when it was given."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    grad_outputs: tuple[torch.Tensor, ...] | None = None
    seed: int = 0
    label: str = "as given"


def is_differentiable(value: Any) -> bool:
    """Whether a gradient of `value` means anything: floating and complex tensors."""
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def copy_inputs(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Detached copies of the tensors, with their strides, apart from the user's storage; other values as they are."""
    return tuple(copy_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs)


def copy_tensor(value: torch.Tensor) -> torch.Tensor:
    """A detached copy that lies in memory as `value` does: its strides, gaps and offset; expanded elements stay shared."""
    value = value.detach()
    if value.layout != torch.strided or not value.numel() or value.is_contiguous():
        return value.clone()
    reach = 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    storage = value.new_zeros(value.storage_offset() + reach)
    storage[value.storage_offset() :] = value.as_strided((reach,), (1,), value.storage_offset())
    return storage.as_strided(value.shape, value.stride(), value.storage_offset())


def random_like(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An upstream gradient of the shape, dtype and device of `value`: short, non-zero, non-uniform numbers.

    They are multiples of 1/64 of either sign between 1/4 and 2, exact in every floating dtype. A large tensor repeats
    a block of prime length under ever new random factors, so that drawing costs no more than writing.
    """
    count = value.numel() * (2 if value.is_complex() else 1)
    flat = _short_numbers(min(count, _PERIOD), generator)
    if count > _PERIOD:
        rows = -(-count // _PERIOD)
        factors = _short_numbers(rows, generator).sign() * 2.0 ** torch.randint(-2, 2, (rows,), generator=generator)
        whole = torch.empty((rows, _PERIOD), dtype=_real(value.dtype))
        torch.mul(flat.to(whole.dtype), factors.to(whole.dtype).unsqueeze(1), out=whole)
        flat = whole.reshape(-1)[:count]
    flat = flat.to(value.device, _real(value.dtype))
    return torch.view_as_complex(flat.reshape(*value.shape, 2)) if value.is_complex() else flat.reshape(value.shape)


def _short_numbers(count: int, generator: torch.Generator) -> torch.Tensor:
    size = torch.randint(16, 129, (count,), generator=generator)
    sign = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
    return (size * sign).double() / 64


def _real(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype


def draw_inputs(
    specs: Sequence[Spec],
    seed: int,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, ...]:
    """Draw one tensor per spec; letters without a size get distinct small primes, variadic ones a single dimension.

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
    """Draw an ordinary call that the validators of `op` let through.

    The sizes are those of `draw_inputs`; where an op refuses them (a kernel larger than its image), others up to 8 are tried,
    first with the given options, then with values of its `choices` as well. Where nothing fits, or `op` is no op, the
    call is as it was drawn.
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
    """Draw the tensor of one spec, every letter's size given."""
    shape = [size for dim in spec.dims for size in dim.shape(sizes[dim.name])]
    low, high = (0, max(1, sizes[str(spec.classes)][0])) if spec.kind == "labels" else (spec.low, spec.high)
    return draw_kind(spec.kind, shape, generator, dtype, low, high)


def draw_kind(
    kind: str, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype, low: int = 0, high: int = 10
) -> torch.Tensor:
    """Draw a tensor of a spec's kind of values; labels and integers lie in [low, high)."""
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind in ("labels", "integers"):
        return torch.randint(low, high, shape, generator=generator)
    if kind == "mask":
        return normal > 0
    if kind == "positive":
        normal = normal.abs() + 0.25
    elif kind == "nonzero":
        normal = normal + torch.where(normal < 0, -0.25, 0.25)
    elif kind == "probabilities":
        normal = torch.softmax(normal, -1)
    elif kind == "one_hot" and normal.numel():
        normal = (normal == normal.amax(-1, keepdim=True)).double()
    return normal.to(dtype)


def bound_sizes(specs: Sequence[Spec], inputs: Sequence[torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The size of every letter in a call."""
    return bind(specs, [value.shape for value in inputs], [f"input {i}" for i in range(len(inputs))])


@contextmanager
def preserved_randomness(seed: int | None = None) -> Iterator[None]:
    """Run a block with every global generator seeded by `seed` (None: as it is), and put their states back afterwards."""
    numpy = sys.modules.get("numpy")
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    numpy_state = numpy.random.get_state() if numpy is not None else None
    try:
        if seed is not None:
            seed_all(seed)
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        if numpy is not None:
            numpy.random.set_state(numpy_state)


def seed_all(seed: int) -> None:
    """Seed the global generators, so that two runs of a forward draw the same random numbers."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
