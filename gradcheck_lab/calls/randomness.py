"""Random numbers: the global generators seeded for a run of the user's code, compared, and put back afterwards."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_TURNS = threading.RLock()


@dataclass(frozen=True, slots=True, eq=False)
class RandomStates:
    """The states of the global generators at one moment: torch's, those of GPUs once CUDA runs, Python's and NumPy's."""

    cpu: torch.Tensor
    cuda: tuple[torch.Tensor, ...]
    python: tuple[Any, ...]
    numpy: Mapping[str, Any] | None  # None as long as NumPy is not imported

    def restore(self) -> None:
        """Put the generators back to these states."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)

    @property
    def words(self) -> tuple[Any, ...]:
        """All states, as values that can be compared."""
        return tuple(bytes(state.numpy()) for state in (self.cpu, *self.cuda)), self.python, _plain(self.numpy)


def random_states() -> RandomStates:
    """The states of the global generators now."""
    numpy = sys.modules.get("numpy")
    return RandomStates(
        torch.get_rng_state(),
        tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
        random.getstate(),
        None if numpy is None else numpy.random.get_state(legacy=False),
    )


def drawn_since(states: RandomStates) -> bool:
    """Whether a global generator moved since the moment of these states."""
    return random_states().words != states.words


def torch_states() -> tuple[torch.Tensor, ...]:
    """The states of torch's global generators alone, which costs less."""
    return torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else ())


def torch_drawn_since(states: tuple[torch.Tensor, ...]) -> bool:
    """Whether one of torch's global generators moved since these states of theirs."""
    return not all(torch.equal(a, b) for a, b in zip(states, torch_states(), strict=False))


def seed_all(seed: int) -> None:
    """Seed the global generators, so that two runs of a forward draw the same random numbers."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


@contextmanager
def preserved_randomness(seed: int | None = None) -> Iterator[None]:
    """Run a block with every global generator seeded by `seed` (None: as it is), and put their states back afterwards.

    The generators are the process's own, so blocks of several threads take turns.
    """
    with _TURNS:
        before = random_states()
        try:
            if seed is not None:
                seed_all(seed)
            yield
        finally:
            before.restore()


def draws_random(seed: int) -> bool:
    """Whether the run that was just made, seeded by `seed`, drew random numbers; the generators are left as they were."""
    after = random_states()
    with preserved_randomness(seed):
        return drawn_since(after)


def _plain(state: Any) -> Any:
    """A state of NumPy's as nested tuples; arrays as their bytes."""
    if isinstance(state, Mapping):
        return tuple((name, _plain(value)) for name, value in state.items())
    return state.tobytes() if hasattr(state, "tobytes") else state
