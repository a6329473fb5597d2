"""A custom op's schema, fake kernel and autograd registration agree with its kernel."""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.opchecked import opchecked, registration_ran


def registration(context: Context) -> Iterator[Finding]:
    """Run the tests of `torch.library.opcheck`, and yield a finding for each that fails."""
    registration_ran(context, now=True)
    yield from opchecked(context)
