"""A whole module scanned: everything in it that has a hand-written backward, checked where its inputs are described."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch._library.custom_ops import CustomOpDef

from gradcheck_lab.described import DESCRIPTION
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.layer import Layer
from gradcheck_lab.op import Op
from gradcheck_lab.report import Report, Verdict
from gradcheck_lab.targets import DTYPES, NoSpecs, check_target, import_module, listed, public

WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a module: a report for each object that could be checked, the reason for each that could not."""

    module: str
    reports: dict[str, Report]
    skipped: dict[str, str]

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts; inconclusive where nothing was checked."""
        found = [report.verdict for report in self.reports.values()]
        return next((verdict for verdict in WORST_FIRST if verdict in found), "inconclusive")

    def to_dict(self) -> dict[str, Any]:
        """The scan as JSON-safe data."""
        return {
            "module": self.module,
            "verdict": self.verdict,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "skipped": self.skipped,
        }


def scan_module(name: str, *, seed: int = 0, dtype: str = "float64") -> Scan:
    """Import the module `name` and check what it defines: ops, autograd Functions, custom ops, layers and modules.

    Inputs are drawn by `seed` from the specs that describe them: see `gradcheck_lab.described.specs_of`. What is
    imported from elsewhere is left out unless `__gradcheck_specs__` names it. Raises `InvalidArgument` for a module that
    does not import or defines nothing of the kind.

    >>> scan_module("gradcheck_lab.ops.linear").verdict
    'pass'
    """
    if dtype not in DTYPES:
        raise InvalidArgument(f"there is no dtype {dtype!r} to check in; pass one of {', '.join(DTYPES)}")
    module = import_module(name)
    scan = Scan(name, {}, {})
    for key in names_of(module):
        target = f"{name}:{key}"
        try:
            scan.reports[key] = replace(check_target(target, seed=seed, dtype=dtype), subject=key)
        except NoSpecs:
            scan.skipped[key] = f"nothing describes its inputs; add {DESCRIPTION} = {{{key!r}: \"real('n d')\"}} to the module"
        except InvalidArgument as error:
            scan.skipped[key] = str(error).removeprefix(f"{target} cannot be checked: ")
    if not scan.reports and not scan.skipped:
        raise InvalidArgument(
            f"the module {name!r} defines no op, autograd Function, custom op, layer or module; it has {listed(public(module))}"
        )
    return scan


def names_of(module: ModuleType) -> list[str]:
    """The names of what to check: each object once, and no class that has an instance beside it."""
    described = list(getattr(module, DESCRIPTION, {}))
    imported = _imported(module)
    found = {
        name: value
        for name, value in vars(module).items()
        if name in described or (not name.startswith("__") and _is_candidate(value) and _is_own(name, value, module, imported))
    }
    instances = {type(value) for value in found.values()}
    seen: set[int] = set()
    names = []
    for name, value in found.items():
        if id(value) not in seen and not (isinstance(value, type) and value in instances):
            names.append(name)
        seen.add(id(value))
    return names + [name for name in described if not hasattr(module, name)]


def _is_candidate(value: Any) -> bool:
    if isinstance(value, (Op, Layer, torch.nn.Module, CustomOpDef)):
        return True
    if isinstance(value, type) and issubclass(value, (torch.autograd.Function, torch.nn.Module)):
        return True
    kind = value if isinstance(value, type) else type(value)
    return callable(getattr(kind, "forward", None)) and callable(getattr(kind, "backward", None))


def _is_own(name: str, value: Any, module: ModuleType, imported: set[str]) -> bool:
    if isinstance(value, type):
        return value.__module__ == module.__name__
    return name not in imported


def _imported(module: ModuleType) -> set[str]:
    """The names that import statements bind in the module; empty where its source is not to be had."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__)
                names |= set(vars(sys.modules[source]))
    return names
