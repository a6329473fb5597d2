"""The command `gradcheck-lab replay`: the call in a saved file, examined on the op as it is now.

A file is data: what it names is not imported. The command line names what runs, and only the ops of this library, which are
looked up in its own table, need no naming. The options of the file go to a forward whose signature has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.discovery.description import constructed, forward_of, has_context
from gradcheck_lab.discovery.partners import subject_at
from gradcheck_lab.discovery.targets import CannotConstruct, locate
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.case_entries import NOT_IMPORTABLE
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.portable import SavedCase, read, replay_command
from gradcheck_lab.kernels.starting import INTERPRETED
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.ops import FAMILIES
from gradcheck_lab.report import Report
from gradcheck_lab.rules.naming import option_names
from gradcheck_lab.rules.op import Op

_LIBRARY = "gradcheck_lab.ops"
_ANY = "MODULE:NAME"


def replay_case(path: str | Path, target: str | None = None, reference: str | None = None) -> Report:
    """Examine the call in a file that fuzzing saved on `target`, a `pkg.module:name`, as it is now.

    `target` and `reference` are named by the user; where they are None, an op of this library that the file names is taken, and
    nothing else: no file decides what is imported. Raises `InvalidArgument` for a file that is no case, before anything is
    imported, for a target that is needed or cannot be imported, and for options that its forward does not have.
    """
    saved = read(path)
    _refuse_unnamed(path, saved, target, reference)
    known = library_ops()
    name = target or str(saved.target)
    found = _constructed(subject_at(target) if target is not None else known[name], name, saved)
    _refuse_other_options(found, name, saved.call)
    compared = known.get(str(saved.reference)) if reference is None else locate(reference)
    try:
        report = Examiner(found, compared, saved.order, saved.allow, wrt=saved.wrt or None).report(saved.call)
    except InvalidArgument:
        raise
    except Exception as error:  # of a validator that meets values of other types, or of torch that has no memory for them
        words = class_and_line(error)
        raise InvalidArgument(f"{name} cannot be examined on the call in {quoted(str(path))}: {words}") from error
    return replace(report, reproduce=replay_command(path, target, reference, INTERPRETED in report.environment))


def library_ops() -> Mapping[str, Op]:
    """The ops of this library by the targets that a file may name them by: of the package, and of the module of each."""
    found = [op for family in FAMILIES.values() for op in family]
    return {f"{module}:{op.name}": op for op in found for module in (_LIBRARY, op.__module__)}


def _refuse_unnamed(path: str | Path, saved: SavedCase, target: str | None, reference: str | None) -> None:
    """Raise `InvalidArgument` for a target or reference that the file names and the user does not, unless it is our own."""
    known, needed = library_ops(), []
    if target is None and saved.target not in known:
        words = f"a call of {quoted(saved.target or saved.subject)}"
        needed, target = [words if saved.target else f"{words}, which was in no module"], _ANY
    if reference is None and saved.reference is not None and saved.reference not in known:
        words = "a reference that was in no module" if saved.reference == NOT_IMPORTABLE else quoted(saved.reference)
        needed, reference = [*needed, f"a comparison with {words}"], _ANY
    if needed:
        raise InvalidArgument(
            f"{quoted(str(path))} holds {' and '.join(needed)}; what a file names is not imported, so name it yourself: "
            f"{replay_command(path, target, reference)}"
        )


def _constructed(found: Any, name: str, saved: SavedCase) -> Any:
    dtypes = [tensor.dtype for tensor in saved.call.tensors if tensor.dtype.is_floating_point]
    try:
        return constructed(found, name.partition(":")[2], saved.constructor_seed, (*dtypes, torch.float64)[0])
    except InvalidArgument as error:
        raise CannotConstruct(name, "replayed", str(error)) from error.__cause__


def _refuse_other_options(found: Any, name: str, call: CallRecipe) -> None:
    """Raise `InvalidArgument` for options that the signature of the forward does not have."""
    forward = forward_of(found)
    known = None if forward is None else option_names(forward, len(call.tensors) + has_context(found))
    for option in call.options:
        if known is not None and option not in known:
            raise InvalidArgument(f"{name} has no option {quoted(option)}; it accepts {', '.join(known) or 'none'}")
