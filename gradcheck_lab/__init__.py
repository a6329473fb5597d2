"""Verify hand-written backward passes: every gradient, the cause when one is wrong, and what would have been noticed."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradcheck_lab.version import __version__ as __version__

if TYPE_CHECKING:
    from gradcheck_lab.check import assert_gradients, check
    from gradcheck_lab.check_distributed import check_distributed
    from gradcheck_lab.compare import compare
    from gradcheck_lab.distributed.placements import Partial, Replicate, Shard
    from gradcheck_lab.engine.variable import Variable
    from gradcheck_lab.errors import GradientMismatch, InvalidArgument
    from gradcheck_lab.fuzz import fuzz
    from gradcheck_lab.judge import judge
    from gradcheck_lab.model.findings import Finding, GradientResult
    from gradcheck_lab.mutate import mutate
    from gradcheck_lab.mutation.report import MutationReport
    from gradcheck_lab.notebook_magic import load_ipython_extension as load_ipython_extension
    from gradcheck_lab.probes import ALL
    from gradcheck_lab.pytesting.parametrize import parametrize_checks
    from gradcheck_lab.report import Report
    from gradcheck_lab.rules.graph import Graph
    from gradcheck_lab.rules.layer import Layer
    from gradcheck_lab.rules.op import Op, op
    from gradcheck_lab.suggest import suggest

_HOMES = {
    "ALL": "probes",
    "assert_gradients": "check",
    "check": "check",
    "check_distributed": "check_distributed",
    "Partial": "distributed.placements",
    "Replicate": "distributed.placements",
    "Shard": "distributed.placements",
    "fuzz": "fuzz",
    "judge": "judge",
    "mutate": "mutate",
    "MutationReport": "mutation.report",
    "suggest": "suggest",
    "compare": "compare",
    "load_ipython_extension": "notebook_magic",
    "GradientMismatch": "errors",
    "InvalidArgument": "errors",
    "Graph": "rules.graph",
    "Layer": "rules.layer",
    "Op": "rules.op",
    "op": "rules.op",
    "parametrize_checks": "pytesting.parametrize",
    "Finding": "model.findings",
    "GradientResult": "model.findings",
    "Report": "report",
    "Variable": "engine.variable",
}

__all__ = [
    "ALL",
    "Finding",
    "GradientMismatch",
    "GradientResult",
    "Graph",
    "InvalidArgument",
    "Layer",
    "MutationReport",
    "Op",
    "Partial",
    "Replicate",
    "Report",
    "Shard",
    "Variable",
    "assert_gradients",
    "check",
    "check_distributed",
    "compare",
    "fuzz",
    "judge",
    "mutate",
    "op",
    "parametrize_checks",
    "suggest",
]


class _Package(ModuleType):
    """Keeps a submodule from hiding the function of the same name: importing `gradcheck_lab.check` would set `check`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that importing the package stays free of torch."""
    home = _HOMES.get(name)
    if home is None:
        if name in {"ops", "specs", "strategies", "networks"}:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
