"""The promises that a backward has to keep, one a file, each a function of an examination that yields findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from gradcheck_lab.report import Finding

if TYPE_CHECKING:
    from gradcheck_lab.examine import Examination

Probe = Callable[["Examination"], Iterable[Finding]]

PROBES: dict[str, Probe] = {}
ALL: frozenset[str] = frozenset(PROBES)


def run_probes(examination: Examination, names: Collection[str]) -> list[Finding]:
    """Run the named probes in the registry's order; none where the examination ended early."""
    if not examination.comparisons:
        return []
    return [finding for name, probe in PROBES.items() if name in names for finding in probe(examination)]
