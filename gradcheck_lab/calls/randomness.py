"""Random numbers: the global generators seeded for a run of the user's code, and put back afterwards."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TURNS = threading.RLock()


@contextmanager
def preserved_randomness(seed: int | None = None) -> Iterator[None]:
    """Run a block with every global generator seeded by `seed` (None: as it is), and put their states back afterwards.

    The generators are the process's own, so blocks of several threads take turns.
    """
    with _TURNS:
        yield from _preserved(seed)


def _preserved(seed: int | None) -> Iterator[None]:
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


def draws_random(seed: int) -> bool:
    """Whether the run that was just made, seeded by `seed`, drew random numbers; the generators are left as they were."""
    after = random_states()
    with preserved_randomness(seed):
        return not same_states(random_states(), after)


def random_states() -> tuple[Any, ...]:
    """The states of torch's, Python's and NumPy's global generators."""
    numpy = sys.modules.get("numpy")
    drawn = None if numpy is None else numpy.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    words = None if drawn is None else (drawn[1].tobytes(), drawn[2])
    return torch.get_rng_state(), random.getstate(), words, [state.tolist() for state in cuda]


def same_states(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether no generator moved between two states."""
    return torch.equal(a[0], b[0]) and a[1:] == b[1:]
