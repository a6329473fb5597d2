"""The line that makes a call of `gl.compare` again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gradcheck_lab.model.arguments import Wrt
from gradcheck_lab.model.limits import SHOWN_VALUES
from gradcheck_lab.reproduction.caller import Caller, caller
from gradcheck_lab.reproduction.imports import name_in
from gradcheck_lab.reproduction.line import Call, line_of


def compare_line(manual: Any, reference: Any, wrt: Wrt | None) -> str:
    """The line for gradients and what they are compared with; without that, one for where the variables of a notebook are."""
    found = caller()
    keywords = {} if wrt is None else {"wrt": wrt}
    if reference is not None:
        return line_of(Call("gl.compare", (("manual", manual), ("reference", _standing(reference))), keywords), found)
    more = "".join(f", {name}={value!r}" for name, value in keywords.items())
    where = f" ({found.place})" if found.place else ""
    return f"print(gl.compare({_variables(manual, found)}{more}))  # run it where these variables are{where}: they hold a graph"


def _variables(values: Any, found: Caller) -> str:
    """Variables by the user's own words: of a module, or a few by name."""
    if any(values is scope for scope in found.scopes):
        return "globals()" if values is found.scopes[-1] else "locals()"
    known = name_in(found.scopes, values)
    if known is not None or not isinstance(values, Mapping) or len(values) > SHOWN_VALUES.value:
        return known or "globals()"
    names = {key: name_in(found.scopes, value) for key, value in values.items()}
    return f"{{{', '.join(f'{key!r}: {name}' for key, name in names.items())}}}" if all(names.values()) else "variables"


def _standing(reference: Any) -> Any:
    """The gradients that a reference stands for: those of tensors that require one are in their `.grad`."""
    if isinstance(reference, torch.Tensor):
        return reference.grad if reference.requires_grad and reference.grad is not None else reference
    if isinstance(reference, Mapping):
        return {key: _standing(value) for key, value in reference.items()}
    return [_standing(value) for value in reference] if isinstance(reference, (list, tuple)) else reference
