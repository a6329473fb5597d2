"""The probes: each file has one promise that a backward has to keep, as a function of a context that yields findings.

A probe derives calls from the user's, runs the hand-written side and, where needed, the oracle on them, and yields a finding
with the name of its cause. A new one is a file and a row of `PROBES`. `ALL` are those that run by default: all but
`ON_REQUEST`, which take longer than all others together.
"""

from __future__ import annotations

from gradcheck_lab.probes.aliased_inputs import aliased_inputs
from gradcheck_lab.probes.compiled import compiled
from gradcheck_lab.probes.dtypes import dtypes
from gradcheck_lab.probes.forward_mode import forward_mode
from gradcheck_lab.probes.indices import indices
from gradcheck_lab.probes.input_layout import input_layout
from gradcheck_lab.probes.kernel_memory import kernel_memory
from gradcheck_lab.probes.missing_branches import missing_branches
from gradcheck_lab.probes.modes import modes
from gradcheck_lab.probes.needs_input_grad import needs_input_grad
from gradcheck_lab.probes.options import options
from gradcheck_lab.probes.poison import poison
from gradcheck_lab.probes.program_order import program_order
from gradcheck_lab.probes.registration import registration
from gradcheck_lab.probes.second_backward import second_backward
from gradcheck_lab.probes.second_order.double_backward import double_backward
from gradcheck_lab.probes.sizes import sizes
from gradcheck_lab.probes.state import state
from gradcheck_lab.probes.support.context import Context, Probe
from gradcheck_lab.probes.upstream.layout import upstream_layout
from gradcheck_lab.probes.upstream.linear import upstream
from gradcheck_lab.probes.values import values
from gradcheck_lab.probes.vmap import vmap

__all__ = ["ALL", "ON_REQUEST", "PROBES", "Context", "Probe"]

PROBES: dict[str, Probe] = {
    "state": state,
    "second_backward": second_backward,
    "upstream": upstream,
    "upstream_layout": upstream_layout,
    "input_layout": input_layout,
    "needs_input_grad": needs_input_grad,
    "aliased_inputs": aliased_inputs,
    "poison": poison,
    "indices": indices,
    "sizes": sizes,
    "values": values,
    "dtypes": dtypes,
    "options": options,
    "modes": modes,
    "forward_mode": forward_mode,
    "vmap": vmap,
    "registration": registration,
    "compiled": compiled,
    "double_backward": double_backward,
    "kernel_memory": kernel_memory,
    "program_order": program_order,
    "missing_branches": missing_branches,  # last, so that it knows what the others ran
}
ON_REQUEST = frozenset({"compiled"})
ALL: frozenset[str] = frozenset(PROBES) - ON_REQUEST
