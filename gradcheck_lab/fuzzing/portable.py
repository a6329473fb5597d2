"""A failing call and where its op is, as a JSON file: small tensors by value, others by seed and profile; never pickle.

The file has another layout than the dataclasses, for whoever reads it: the entries of a call stand beside those of the case,
and a tensor has either values or a seed. So its entries are written here one by one.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.case_entries import DTYPES, FORMAT, SCHEMA, refuse_misfit_call
from gradcheck_lab.model.files import read_json, write_text
from gradcheck_lab.model.shown import quoted

_FIX = "name a file that gl.fuzz saved"
BY_VALUE = 64  # elements up to which a tensor is written by its values


@dataclass(frozen=True, slots=True)
class SavedCase:
    """A failing call, and what is needed to examine it again.

    `target` is where the op was, as `pkg.module:name`; None where it cannot be imported. `reference` is the same for the
    reference, None where there is none and "?" where it cannot be imported. Both are for the reader: nothing is imported
    because a file names it, see `gradcheck_lab.commands.replay`. `constructor_seed` constructs an object from its
    class. `wrt` are the inputs that need a gradient, none where nothing was said. `finding`, `words` and `python` are for the
    reader: the message, the call in one line, and the call as code.
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
    wrt: tuple[str | int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe data, which `from_dict` reads.

        Raises `InvalidArgument` for options that cannot be written as JSON.
        """
        try:
            options = json.loads(json.dumps(_tagged(dict(self.call.options)), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"the options {dict(self.call.options)!r} cannot be written as JSON: {error}") from error
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "subject": self.subject,
            "target": self.target,
            "reference": self.reference,
            "order": self.order,
            "allow": sorted(self.allow),
            "seed": self.call.seed,
            "options": options,
            "inputs": [_tensor_data(tensor) for tensor in self.call.tensors],
            "finding": self.finding,
            "words": self.words,
            "python": self.python,
            "made_with": self.constructor_seed,
            "wrt": list(self.wrt),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SavedCase:
        """Read what `to_dict` wrote. Raises `InvalidArgument` for anything else, before anything is made of it."""
        if data.get("format") != FORMAT or data.get("schema") != SCHEMA:
            raise InvalidArgument(
                f"its format is {quoted(data.get('format'))}, schema {quoted(data.get('schema'))}; this version reads "
                f"{FORMAT!r}, schema {SCHEMA}, as gl.fuzz writes it"
            )
        data = {"wrt": [], **data}  # files from before it was an argument have none
        refuse_misfit_call(data)
        tensors = tuple(_tensor(entry) for entry in data["inputs"])
        return cls(
            CallRecipe(tensors, _untagged(data["options"]), data["seed"]),
            data["subject"],
            data["target"],
            data["reference"],
            data["order"],
            tuple(data["allow"]),
            data["finding"],
            data["words"],
            data["python"],
            data["made_with"],
            tuple(data["wrt"]),
        )


def read(path: str | Path) -> SavedCase:
    """Read a saved case. Raises `InvalidArgument` for a file that is not there or not one."""
    data, name = read_json(path, _FIX), quoted(str(path))
    if not isinstance(data, dict):
        raise InvalidArgument(f"{name} holds {quoted(data)}; {_FIX}")
    try:
        return SavedCase.from_dict(data)
    except InvalidArgument as error:
        raise InvalidArgument(f"{name} is no case: {error}") from None


def replay_command(path: str | Path, target: str | None, reference: str | None, interpreted: bool = False) -> str:
    """The command that examines a saved call again, on what the user names; `interpreted` where it launched such kernels."""
    words = ["gradcheck-lab", "replay", str(path)] + ([target] if target is not None else [])
    words += ["--reference", reference] if reference is not None else []
    return shlex.join([*words, *(["--triton-interpret"] if interpreted else [])])


def write(saved: SavedCase, path: str | Path) -> None:
    """Write a case as JSON."""
    write_text(Path(path), json.dumps(saved.to_dict(), indent=1, allow_nan=False) + "\n")


def _tagged(value: Any) -> Any:
    """An option with what JSON has no word for as a table of one entry: tuples, and numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, tuple):
        return {"tuple": [_tagged(each) for each in value]}
    if isinstance(value, list):
        return [_tagged(each) for each in value]
    return {key: _tagged(each) for key, each in value.items()} if isinstance(value, dict) else value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(each) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"float": "nan" | "inf" | "-inf" as number, **rest} if not rest:
            return float(number)
        case {"tuple": list(values), **rest} if not rest:
            return tuple(map(_untagged, values))
    return {key: _untagged(each) for key, each in value.items()}


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
    kind, shape, dtype = data["kind"], tuple(data["shape"]), DTYPES[data["dtype"]]
    if "values" in data:
        values = tuple(float(value) if dtype.is_floating_point else value for value in data["values"])
        return TensorRecipe(kind, shape, dtype, data["profile"], data["layout"], values=values)
    return TensorRecipe(kind, shape, dtype, data["profile"], data["layout"], data["seed"], data["low"], data["high"])
