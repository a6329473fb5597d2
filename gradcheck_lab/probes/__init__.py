"""The promises that a backward has to keep, one a file, each a function of a context that yields findings.

A probe derives calls from the user's one call, runs the hand-written side and, where it needs, the oracle on them, and says
what it found with the cause's name. A new one is a file and a row of `PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from gradcheck_lab.probes.context import Context
from gradcheck_lab.probes.merge import merged
from gradcheck_lab.probes.upstream_layout import upstream_layout
from gradcheck_lab.report import Finding

if TYPE_CHECKING:
    from gradcheck_lab.examine import Examination

Probe = Callable[[Context], Iterable[Finding]]

PROBES: dict[str, Probe] = {
    "upstream_layout": upstream_layout,
}
ALL: frozenset[str] = frozenset(PROBES)


def run_probes(examination: Examination, names: Collection[str]) -> list[Finding]:
    """Run the named probes in the registry's order and merge what they find with what the comparison found.

    None is run where the examination ended early.
    """
    if not examination.comparisons or not examination.returned:
        return examination.findings
    context = Context(examination)
    found = [finding for name, probe in PROBES.items() if name in names for finding in probe(context)]
    return merged(examination.findings, found)
