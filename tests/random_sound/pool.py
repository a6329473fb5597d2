"""Every row of the pool, its files imported."""

from tests.random_sound import (
    algebra,
    broadcasting,
    complex_numbers,
    elementwise,
    functions,
    images,
    indexing,
    losses,
    normalisations,
    reductions,
    sequences,
)
from tests.random_sound.forms import POOL

__all__ = ["POOL"]

_FILES = (
    algebra,
    broadcasting,
    complex_numbers,
    elementwise,
    functions,
    images,
    indexing,
    losses,
    normalisations,
    reductions,
    sequences,
)
