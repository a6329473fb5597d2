"""The promises that a backward has to keep, one a file, each a function of a context that yields findings.

A probe derives calls from the user's one call, runs the hand-written side and, where it needs, the oracle on them, and says
what it found with the cause's name. A new one is a file and a row of `PROBES`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.examination.one_finding_a_mistake import merge_findings
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.user_errors import text_of
from gradcheck_lab.probes.aliased_inputs import aliased_inputs
from gradcheck_lab.probes.dtypes import dtypes
from gradcheck_lab.probes.forward_mode import forward_mode
from gradcheck_lab.probes.indices import indices
from gradcheck_lab.probes.input_layout import input_layout
from gradcheck_lab.probes.modes import modes
from gradcheck_lab.probes.needs_input_grad import needs_input_grad
from gradcheck_lab.probes.options import options
from gradcheck_lab.probes.poison import poison
from gradcheck_lab.probes.registration import registration
from gradcheck_lab.probes.second_backward import second_backward
from gradcheck_lab.probes.second_order.double_backward import double_backward
from gradcheck_lab.probes.sizes import sizes
from gradcheck_lab.probes.state import overwritten, state
from gradcheck_lab.probes.support.context import Context, Inconclusive, Probe, Yielded
from gradcheck_lab.probes.support.repeats import is_repeatable
from gradcheck_lab.probes.upstream.layout import upstream_layout
from gradcheck_lab.probes.upstream.linear import upstream
from gradcheck_lab.probes.values import values
from gradcheck_lab.probes.vmap import vmap

PROBES: dict[str, Probe] = {
    "state": state,
    "second_backward": second_backward,
    "upstream": upstream,
    "upstream_layout": upstream_layout,
    "input_layout": input_layout,
    "needs_input_grad": needs_input_grad,
    "aliased_inputs": aliased_inputs,
    "poison": poison,
    "sizes": sizes,
    "values": values,
    "indices": indices,
    "dtypes": dtypes,
    "options": options,
    "modes": modes,
    "forward_mode": forward_mode,
    "vmap": vmap,
    "registration": registration,
    "double_backward": double_backward,
}
# these tell whether a call can be repeated at all; no other derived call means anything where it cannot
_FIRST = ("state", "second_backward", "poison", "registration")
# whether a defect of a probe ends the check, as in this project's own tests
STRICT = False
ALL: frozenset[str] = frozenset(PROBES)


def run_probes(examined: Examined, names: Collection[str | Probe], order: int = 1) -> Examined:
    """Run the named probes in the registry's order, then the user's own; merge what they and the comparison found.

    None is run where the examination ended early, or where the oracles contradict each other. Second order is compared
    under any names where it is what was asked for.
    """
    if not examined.comparisons or not examined.returned or examined.reasons:
        return examined
    context = Context(examined, order)
    found: list[Yielded] = []
    asked: Collection[str | Probe] = {*names, "double_backward"} if order == 2 else names
    for name, probe in PROBES.items():
        if name in asked and (name in _FIRST or is_repeatable(context)):
            found += _run(name, probe, context)
    for own in (probe for probe in names if callable(probe)):
        found += own(context)
    if "state" in names:
        found += _run("state", overwritten, context)
    if order == 2 and not is_repeatable(context):
        found.append(Inconclusive("the second derivative was not compared: the call does not give the same when repeated"))
    return replace(
        examined,
        comparisons=(*examined.comparisons, *(each for each in found if isinstance(each, Comparison))),
        findings=tuple(merge_findings(examined.findings, [each for each in found if isinstance(each, Finding)])),
        reasons=(*examined.reasons, *(each.reason for each in found if isinstance(each, Inconclusive))),
    )


def _run(name: str, probe: Probe, context: Context) -> list[Yielded]:
    """What a probe finds; where it fails itself, the others go on, and a note says so."""
    found: list[Yielded] = []
    try:
        found.extend(probe(context))
    except Exception as error:
        if STRICT:
            raise
        text = f"the probe {name} failed: {type(error).__name__}: {text_of(error)}"
        found.append(
            Finding("unsupported", "note", text, explanation="a defect of gradcheck_lab; please report it", probe=name)
        )
    return found
