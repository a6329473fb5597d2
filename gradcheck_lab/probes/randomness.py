"""Whether a call drew random numbers, and from which generators."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch

from gradcheck_lab.case import preserved_randomness


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
