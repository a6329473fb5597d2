"""The command `gradcheck-lab check pkg.module`: a check of everything in the module whose inputs are described."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_lab.commands.check import check_target
from gradcheck_lab.discovery.description import DESCRIPTION
from gradcheck_lab.discovery.scan import names_of
from gradcheck_lab.discovery.targets import DTYPES, CannotConstruct, NoSpecs, import_module, listed, public
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Scan


def scan_module(name: str, *, seed: int = 0, dtype: str = "float64") -> Scan:
    """Import the module `name` and check what it defines: ops, autograd Functions, custom ops, layers and modules.

    Inputs are drawn by `seed` from the specs that describe them: see `gradcheck_lab.discovery.description.specs_of`. What is
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
        except CannotConstruct as error:
            scan.skipped[key] = error.why
        except InvalidArgument as error:
            scan.skipped[key] = str(error)
    if not scan.reports and not scan.skipped:
        raise InvalidArgument(
            f"the module {name!r} defines no op, autograd Function, custom op, layer or module; it has {listed(public(module))}"
        )
    return scan
