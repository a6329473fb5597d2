"""Every row of the pool, file by file."""

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
from tests.random_sound.forms import Row

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

POOL = [row for file in _FILES for row in vars(file).values() if isinstance(row, Row)]
