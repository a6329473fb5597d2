"""A failing call and where its op is, as a JSON file: small tensors by value, others by seed and profile; never pickle.

The file has another layout than the dataclasses, for whoever reads it: the entries of a call stand beside those of the case,
and a tensor has either values or a seed. So its entries are written here one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.calls.kinds import KINDS, PROFILES, WRITTEN
from gradcheck_lab.calls.layouts import LAYOUT_NAMES
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.errors import InvalidArgument

FORMAT = "gradcheck_lab case"
SCHEMA = 1
NOT_IMPORTABLE = "?"
BY_VALUE = 64  # elements up to which a tensor is written by its values


@dataclass(frozen=True, slots=True)
class SavedCase:
    """A failing call, and what is needed to examine it again.

    `target` is where the op is, as `pkg.module:name`; None where it cannot be imported. `reference` is the same for the
    reference, None where there is none and "?" where it cannot be imported. `constructor_seed` constructs an object from its
    class. `finding`, `words` and `python` are for the reader: the message, the call in one line, and the call as code.
    """

    call: CallRecipe
    subject: str
    target: str | None = None
    reference: str | None = None
    order: int = 1
    allow: tuple[str, ...] = ()
    finding: str = ""
    words: str = ""
    python: str = ""
    constructor_seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe data, which `from_dict` reads.

        Raises `InvalidArgument` for options that cannot be written as JSON.
        """
        data = {
            "format": FORMAT,
            "schema": SCHEMA,
            "subject": self.subject,
            "target": self.target,
            "reference": self.reference,
            "order": self.order,
            "allow": sorted(self.allow),
            "seed": self.call.seed,
            "options": dict(self.call.options),
            "inputs": [_tensor_data(tensor) for tensor in self.call.tensors],
            "finding": self.finding,
            "words": self.words,
            "python": self.python,
            "made_with": self.constructor_seed,
        }
        try:
            json.dumps(data["options"], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"the options {data['options']!r} cannot be written as JSON: {error}") from error
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SavedCase:
        """Read what `to_dict` wrote. Raises `InvalidArgument` for anything else."""
        if data.get("format") != FORMAT or data.get("schema") != SCHEMA:
            raise InvalidArgument(
                f"its format is {data.get('format')!r}, schema {data.get('schema')!r}; this version reads {FORMAT!r}, "
                f"schema {SCHEMA}, as gl.fuzz writes it"
            )
        try:
            tensors = tuple(_tensor(entry) for entry in data["inputs"])
            return cls(
                CallRecipe(tensors, dict(data["options"]), int(data["seed"])),
                str(data["subject"]),
                data["target"],
                data.get("reference"),
                int(data.get("order", 1)),
                tuple(data.get("allow", ())),
                str(data.get("finding", "")),
                str(data.get("words", "")),
                str(data.get("python", "")),
                int(data.get("made_with", 0)),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InvalidArgument(
                f"an entry cannot be read ({type(error).__name__}: {error}); fuzz again to make it anew"
            ) from error


def read(path: str | Path) -> SavedCase:
    """Read a saved case. Raises `InvalidArgument` for a file that is not there or not one."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgument(f"cannot read {str(path)!r}: {error.strerror}; name a file that gl.fuzz saved") from error
    except ValueError as error:
        raise InvalidArgument(f"{str(path)!r} is no JSON ({error}); name a file that gl.fuzz saved") from error
    if not isinstance(data, dict):
        raise InvalidArgument(f"{str(path)!r} holds a {type(data).__name__}; name a file that gl.fuzz saved")
    try:
        return SavedCase.from_dict(data)
    except InvalidArgument as error:
        raise InvalidArgument(f"{str(path)!r} is no case: {error}") from error


def write(saved: SavedCase, path: str | Path) -> None:
    """Write a case as JSON."""
    text = json.dumps(saved.to_dict(), indent=1, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _tensor_data(tensor: TensorRecipe) -> dict[str, Any]:
    data: dict[str, Any] = {
        "kind": tensor.kind,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "layout": tensor.layout,
        "profile": tensor.profile,
    }
    if tensor.values is not None or math.prod(tensor.shape) <= BY_VALUE:
        return data | {"values": list(tensor.with_written_values().values or ())}
    return data | {"seed": tensor.seed, "low": tensor.low, "high": tensor.high}


def _tensor(data: Mapping[str, Any]) -> TensorRecipe:
    dtype = getattr(torch, data["dtype"])
    kind, shape, layout = data["kind"], tuple(int(size) for size in data["shape"]), data["layout"]
    if not isinstance(dtype, torch.dtype) or kind not in KINDS or layout not in LAYOUT_NAMES:
        raise ValueError(f"{data['dtype']}, {kind}, {layout}")
    if data["profile"] not in (*PROFILES, WRITTEN):
        raise ValueError(str(data["profile"]))
    if "values" in data:
        recipe = TensorRecipe(kind, shape, dtype, data["profile"], layout, values=tuple(data["values"]))
        recipe.build()
        return recipe
    seed, low, high = (int(data[name]) for name in ("seed", "low", "high"))
    return TensorRecipe(kind, shape, dtype, data["profile"], layout, seed, low, high)
