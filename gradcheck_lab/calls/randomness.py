"""The states of the global random generators: seed them for a run of the user's code, compare them, and restore them."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.devices import started_module
from gradcheck_lab.calls.lost_device import any_lost

TURNS = threading.RLock()  # of threads that run blocks in which the state of the process is theirs
if hasattr(os, "register_at_fork"):  # the thread that holds it is not there in a forked process
    os.register_at_fork(after_in_child=TURNS._at_fork_reinit)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, eq=False)
class RandomStates:
    """The states of the global generators at one moment: torch's, an accelerator's once it runs, Python's and NumPy's."""

    cpu: torch.Tensor
    devices: tuple[torch.Tensor, ...]
    python: tuple[Any, ...]
    numpy: Mapping[str, Any] | None  # None as long as NumPy is not imported

    def restore(self) -> None:
        """Put the generators back to these states."""
        torch.set_rng_state(self.cpu)
        module = _module() if self.devices else None
        if module is not None:
            for index, state in enumerate(self.devices):
                module.set_rng_state(state, index)
        random.setstate(self.python)
        if self.numpy is not None:
            sys.modules["numpy"].random.set_state(self.numpy)

    @property
    def comparable(self) -> tuple[Any, ...]:
        """All states, as values that can be compared."""
        return tuple(bytes(state.numpy()) for state in (self.cpu, *self.devices)), self.python, _plain(self.numpy)


def random_states() -> RandomStates:
    """The states of the global generators now."""
    numpy = sys.modules.get("numpy")
    return RandomStates(
        torch.get_rng_state(),
        _of_devices(),
        random.getstate(),
        None if numpy is None else numpy.random.get_state(legacy=False),
    )


def has_drawn_since(states: RandomStates) -> bool:
    """Whether a global generator has drawn numbers since `states` were taken."""
    return random_states().comparable != states.comparable


def torch_states() -> tuple[torch.Tensor, ...]:
    """The states of torch's global generators only, which is faster than `random_states`."""
    return torch.get_rng_state(), *_of_devices()


def has_torch_drawn_since(states: tuple[torch.Tensor, ...]) -> bool:
    """Whether one of torch's global generators has drawn numbers since `states` were taken."""
    return not all(torch.equal(a, b) for a, b in zip(states, torch_states(), strict=False))


def seed_all(seed: int) -> None:
    """Seed the global generators, so that two runs of a forward draw the same random numbers."""
    torch.default_generator.manual_seed(seed)
    module = _module()
    if module is not None:
        getattr(module, "manual_seed_all", module.manual_seed)(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


@contextmanager
def preserved_randomness(seed: int | None = None) -> Iterator[None]:
    """Run a block with every global generator seeded by `seed` (None: as it is), and put their states back afterwards.

    The generators belong to the process, so a lock lets one thread run such a block at a time.
    """
    with TURNS:
        before = random_states()
        try:
            if seed is not None:
                seed_all(seed)
            yield
        finally:
            before.restore()


def draws_random(seed: int) -> bool:
    """Whether random numbers were drawn since `seed_all(seed)`; the states of the generators do not change."""
    after = random_states()
    with preserved_randomness(seed):
        return has_drawn_since(after)


def _module() -> Any:
    """The module of the accelerator that runs, and still works; None where none does."""
    return None if any_lost() else started_module()


def _of_devices() -> tuple[torch.Tensor, ...]:
    """The states of the generators of all devices, once their accelerator runs."""
    module = _module()
    return () if module is None else tuple(module.get_rng_state(index) for index in range(module.device_count()))


def _plain(state: Any) -> Any:
    """A NumPy generator state as nested tuples, with arrays as bytes, so that `==` compares it."""
    if isinstance(state, Mapping):
        return tuple((name, _plain(value)) for name, value in state.items())
    return state.tobytes() if hasattr(state, "tobytes") else state
