"""The user's values as Python: what is imported, what is made again, and what only the user's own code has."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from keyword import iskeyword
from types import MethodType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.model.limits import LITERAL_ELEMENTS
from gradcheck_lab.reproduction.arrays import array_text, tensor_text
from gradcheck_lab.reproduction.imports import imported, imported_from, name_in
from gradcheck_lab.reproduction.instances import construction_of
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.op import Op

_PLAIN = (bool, int, str, bytes, type(None), complex, type(...), slice, range)
_TORCH, _NUMPY, _OWN = "import torch", "import numpy as np", "import gradcheck_lab as gl"

Scopes = tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class Writer:
    """Writes values as expressions.

    `scopes` are the names of the user's code that called, its locals first and its globals last. `before` are the statements
    that the expressions need, `absent` what nothing imports and `large` the tensors and arrays of many elements, both by the
    names that stand for them.
    """

    scopes: Scopes = ()
    before: list[str] = field(default_factory=list)
    absent: dict[str, Any] = field(default_factory=dict)
    large: dict[str, Any] = field(default_factory=dict)

    def text(self, value: Any, name: str = "value") -> str:
        """An expression for a value; `name` is what it is called where the user's code has no name for it."""
        if type(value) in _PLAIN:
            return repr(value)
        if type(value) is float:
            return repr(value) if abs(value) < float("inf") else f"float({str(value)!r})"
        if isinstance(value, torch.Tensor):
            return self._array(value, name, tensor_text, _TORCH)
        if isinstance(value, np.ndarray):
            return self._array(value, name, array_text, _NUMPY)
        return self._small(value) or self._container(value, name) or self._object(value, name)

    def need(self, *statements: str) -> None:
        """Keep statements that an expression needs, each once."""
        self.before += [each for each in statements if each not in self.before]

    def call(self, function: str, positional: Iterable[tuple[str, Any]], keywords: Mapping[str, Any]) -> str:
        """A call with these arguments; those by position come with the names of their parameters."""
        arguments = [self.text(value, name) for name, value in positional]
        arguments += [f"{name}={self.text(value, name)}" for name, value in keywords.items()]
        return f"{function}({', '.join(arguments)})"

    def _array(self, value: Any, name: str, written: Callable[[Any], str | None], needed: str) -> str:
        self.need(needed)
        text = next((known for known, held in self.large.items() if held is value), None) or written(value)
        if text is None:
            text = self._free(name_in(self.scopes, value) or name)
            self.large[text] = value
        return text

    def _small(self, value: Any) -> str | None:
        if isinstance(value, (torch.dtype, torch.device)):
            self.need(_TORCH)
            return str(value) if isinstance(value, torch.dtype) else f"torch.device({str(value)!r})"
        if isinstance(value, (np.dtype, np.generic)):
            self.need(_NUMPY)
            return f"np.dtype({value.name!r})" if isinstance(value, np.dtype) else f"np.{value.dtype.name}({value.item()!r})"
        return None

    def _container(self, value: Any, name: str) -> str | None:
        kind = type(value)
        if isinstance(value, (list, tuple, set, frozenset, Mapping)) and len(value) > LITERAL_ELEMENTS.value:
            return self._kept(self.absent, value, name_in(self.scopes, value) or name)
        if kind in (list, tuple, torch.Size):
            parts = [self.text(each, f"{name}_{index}") for index, each in enumerate(value)]
            return f"[{', '.join(parts)}]" if kind is list else f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        if kind in (set, frozenset):
            parts = sorted(self.text(each, name) for each in value)
            return f"{{{', '.join(parts)}}}" if parts else "set()"
        if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections", "types"):
            return f"{{{', '.join(f'{self.text(key)}: {self.text(each, str(key))}' for key, each in value.items())}}}"
        return None

    def _object(self, value: Any, name: str) -> str:
        found = imported(value)
        for scope in self.scopes if found is None else ():
            found = found or imported_from(scope, value)
        if found is not None:
            self.need(*found.before)
            return found.text
        known = name_in(self.scopes, value)
        made = self._tried(value, known or _variable(value), ())
        if made is None and known is None:
            made = self._tried(value, name, self.scopes)
        own = name_of(value) if hasattr(value, "__name__") else _variable(value)
        return made or self._kept(self.absent, value, known or own)

    def _tried(self, value: Any, name: str, scopes: Scopes) -> str | None:
        """An expression for an object that is made of others, each of which is imported or has a name in `scopes`."""
        trial = Writer(self.scopes, list(self.before), large=dict(self.large))
        text = trial._made_of_others(value) or trial._made_again(value, name)
        named = all(name_in(scopes, each) is not None for each in trial.absent.values())
        if text is None or not named or trial.large.keys() != self.large.keys():
            return None
        self.before = trial.before
        self.absent |= trial.absent
        return text

    def _made_of_others(self, value: Any) -> str | None:
        if isinstance(value, Op) and not value.signatures and not value.choices and value.rule is not None:
            self.need(_OWN)
            named: dict[str, Any] = {"name": value.name} if value.name != getattr(value.forward, "__name__", None) else {}
            named |= {"wrt": value.wrt} if value.wrt is not None else {}
            return self.call("gl.Op", (("forward", value.forward), ("backward", value.rule)), named)
        if isinstance(value, Layer):
            self.need(_OWN)
            parts = {"grads": value.grads, "parameters": value.parameters, "forward": value.forward_name}
            parts |= {"backward": value.backward_name, "arguments": value.backward_arguments or None}
            return self.call("gl.Layer", (("layer", value.obj),), {n: v for n, v in parts.items() if v is not None})
        if isinstance(value, Enum):
            return f"{self.text(type(value))}.{value.name}"
        if isinstance(value, MethodType):
            return f"{self.text(value.__self__)}.{value.__func__.__name__}"
        if isinstance(value, functools.partial):
            self.need("import functools")
            arguments = [(f"argument_{index}", each) for index, each in enumerate(value.args)]
            return self.call("functools.partial", [("function", value.func), *arguments], value.keywords)
        return None

    def _made_again(self, value: Any, name: str) -> str | None:
        """The name of an object that is constructed from its class, and given the state that it has."""
        if isinstance(value, type) or not hasattr(value, "__dict__") or isinstance(value, (Op, Layer)):
            return None
        kind, known = imported(type(value)), name_in(self.scopes, type(value))
        construction = construction_of(value) if kind is not None or known is not None else None
        if construction is None:
            return None
        if kind is not None:
            self.need(*kind.before)
        made = kind.text if kind is not None else self._kept(self.absent, type(value), str(known))
        text = self.call(made, (), construction.arguments)
        text += f".to({construction.dtype})" if construction.dtype is not None else ""
        text += "" if construction.training else ".eval()"
        if not construction.attributes and not construction.state:
            return text
        name = self._free(name)
        after = [f"{name}.{attribute} = {self.text(held)}" for attribute, held in construction.attributes.items()]
        after += [f"{name}.load_state_dict({self.text(construction.state)})"] if construction.state else []
        self.need(f"{name} = {text}", *after)
        return name

    def _kept(self, where: dict[str, Any], value: Any, name: str) -> str:
        known = next((text for text, held in where.items() if held is value), None)
        text = known or self._free(name)
        where[text] = value
        return text

    def _free(self, name: str) -> str:
        """A name that stands for nothing else."""
        name = re.sub(r"\W+", "_", name).strip("_")
        name = name if name.isidentifier() and not iskeyword(name) else "subject"
        taken = {*self.absent, *self.large, *(each.partition(" = ")[0] for each in self.before)}
        return next(each for each in (name, *(f"{name}_{k}" for k in range(len(taken) + 1))) if each not in taken)


def _variable(value: Any) -> str:
    return type(value).__name__.lower()
