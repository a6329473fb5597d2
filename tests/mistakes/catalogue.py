"""Every planted mistake in one table: rows of a cause, a wrong subject, its sound twin and one ordinary call."""

from typing import Any

from tests.mistakes import (
    calls,
    catalogue_arrangements,
    catalogue_axes,
    catalogue_calls,
    catalogue_choices,
    catalogue_compiled,
    catalogue_conditions,
    catalogue_defaults,
    catalogue_factors,
    catalogue_finite,
    catalogue_forms,
    catalogue_graphs,
    catalogue_hidden_sizes,
    catalogue_kernels,
    catalogue_layouts,
    catalogue_live,
    catalogue_modes,
    catalogue_near_numbers,
    catalogue_near_patterns,
    catalogue_near_rounding,
    catalogue_numbers,
    catalogue_option_values,
    catalogue_plain,
    catalogue_products,
    catalogue_shapes,
    catalogue_state,
    catalogue_steps,
    catalogue_structure,
    catalogue_terms,
    catalogue_upstream,
    catalogue_values,
    values,
)
from tests.mistakes.registry import Mistake

FAMILIES = (
    catalogue_structure,
    catalogue_shapes,
    catalogue_finite,
    catalogue_forms,
    catalogue_graphs,
    catalogue_upstream,
    catalogue_layouts,
    catalogue_live,
    catalogue_state,
    catalogue_steps,
    catalogue_modes,
    catalogue_values,
    catalogue_axes,
    catalogue_arrangements,
    catalogue_numbers,
    catalogue_terms,
    catalogue_calls,
    catalogue_conditions,
    catalogue_option_values,
    catalogue_defaults,
    catalogue_choices,
    catalogue_compiled,
    catalogue_factors,
    catalogue_hidden_sizes,
    catalogue_near_rounding,
    catalogue_near_patterns,
    catalogue_near_numbers,
    catalogue_plain,
    catalogue_products,
    catalogue_kernels,
)


def _shared(row: Any) -> Mistake:
    """A row of the probes' own tests, whose `make` returns both subjects and the call."""
    _, _, inputs, options = row.make()
    return Mistake(f"probed-{row.name}", row.cause, lambda: row.make()[0], lambda: row.make()[1], inputs, options)


ROWS: tuple[Mistake, ...] = (
    *(row for family in FAMILIES for row in family.ROWS),
    *(_shared(row) for row in (*values.ROWS, *calls.MISTAKES)),
)
