"""What a target of the command line is checked on: drawn from specs or a docstring, or those of its author's own call."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.drawing import draw_inputs, ordinary_call
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.discovery.author_calls import AuthorCalls
from gradcheck_lab.discovery.description import constructed, forward_of, has_context, positional_names, specs_of
from gradcheck_lab.discovery.docstring_shapes import described_shapes
from gradcheck_lab.discovery.partners import subject_at
from gradcheck_lab.discovery.targets import DTYPES, CannotConstruct, NoSpecs, module_name_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import reading
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.specs import Spec


@dataclass(frozen=True, slots=True)
class Call:
    """What to check and on what; `source` says where the inputs are from. Those of a docstring are a `guess`.

    `settings` are the other arguments of `check` that the author's own call of it gives.
    """

    subject: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    source: str = "specs"
    guess: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Finder:
    """Looks for the inputs of an object; `subject` is what was made of it, None for a class that takes arguments."""

    target: str
    seed: int
    dtype: torch.dtype | None
    options: Mapping[str, Any]
    module: ModuleType
    name: str
    found: Any
    subject: Any
    refusals: list[str] = field(default_factory=list)

    def by_specs(self, written: Sequence[Spec]) -> Call | None:
        """Drawn from the specs that the user wrote, else from those that go with the object."""
        signature = tuple(written) or specs_of(self.subject, self.module.__name__, self.name)
        if not signature:
            return None
        with preserved_state(self.seed), reading(self.target):
            case = ordinary_call(self.subject, signature, self.seed, self.options, self.dtype or torch.float64)
        return Call(self.subject, self._arrays(case.inputs), dict(case.options))

    def by_author(self) -> Call | None:
        """Those of the first call that the file makes of the object."""
        calls = AuthorCalls(self.module, self.name, self.found)
        with preserved_state(self.seed), reading(self.target):
            call = calls.first()
        self.refusals += calls.refusals
        if call is None:
            return None
        inputs = call.inputs if _is_differentiable(call.subject, call.inputs) else tuple(map(_floating, call.inputs))
        inputs = inputs if self.dtype is None else tuple(_cast(value, self.dtype) for value in inputs)
        options = {**call.options, **self.options}
        return Call(call.subject, inputs, options, f"the call in {call.where}", settings=call.settings)

    def by_docstring(self) -> Call | None:
        """Drawn from the shapes that the docstring of the forward, or of the class, gives of every input."""
        forward = forward_of(self.subject)
        if forward is None:
            return None
        names, needed = positional_names(forward, has_context(self.subject))
        for holder in (forward, type(self.subject), self.subject):
            text = None if holder is tuple else getattr(holder, "__doc__", None)
            shapes = described_shapes(text, names) if isinstance(text, str) else {}
            missing = [name for name in needed if name not in shapes]
            if shapes and missing:
                self.refusals.append(f"its docstring gives no shape of {', '.join(missing)}")
            elif shapes:
                leading = next((k for k, name in enumerate(names) if name not in shapes), len(names))
                signature = tuple(shapes[name] for name in names[:leading])
                with preserved_state(self.seed):
                    inputs = self._arrays(draw_inputs(signature, self.seed, dtype=self.dtype or torch.float64))
                    raised = _raised(forward, inputs, self.options) if isinstance(forward, FunctionType) else ""
                if not raised or has_context(self.subject):
                    return Call(self.subject, inputs, dict(self.options), "the shapes in its docstring", guess=True)
                self.refusals.append(as_guessed(inputs, raised))
        return None

    def _arrays(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs as a function in NumPy takes them; other objects say by themselves what they take."""
        forward = self.subject[0] if isinstance(self.subject, tuple) else self.subject
        if not isinstance(forward, FunctionType) or not _computes_in_numpy(forward):
            return inputs
        return tuple(value.numpy() if isinstance(value, torch.Tensor) else value for value in inputs)


def call_of(target: str, written: Sequence[Spec], seed: int, dtype: str | None, options: Mapping[str, Any]) -> Call:
    """Import the target and find what to check it on.

    That is drawn by `seed` from the `written` specs, else from those of `__gradcheck_specs__`, of the object or of its
    annotations; else it is what the file itself calls the object with; else it is drawn from shapes in its docstring. A
    `dtype` of None leaves the author's values as they are. A function whose backward stands beside it is a pair of both.
    Raises `InvalidArgument` for a target that is not found, `CannotConstruct`, and `NoSpecs` where nothing says what it takes.
    """
    module_name, _, name = target.partition(":")
    found, kind = subject_at(target), None if dtype is None else DTYPES[dtype]
    module = sys.modules[module_name_of(module_name)]
    subject, unmade = None, None
    try:
        subject = constructed(found, name, seed, kind or torch.float64)
    except InvalidArgument as error:
        unmade = CannotConstruct(target, "checked", str(error))
        unmade.__cause__ = error.__cause__
        if written:
            raise unmade from error.__cause__
    finder = _Finder(target, seed, kind, options, module, name, found, subject)
    call = (finder.by_specs(written) if unmade is None else None) or finder.by_author()
    if call is None and unmade is not None:
        raise unmade
    call = call or finder.by_docstring()
    if call is None:
        raise NoSpecs(target, tuple(finder.refusals))
    return call


def as_guessed(inputs: Sequence[Any], raised: str) -> str:
    """Why the shapes of a docstring are not taken."""
    shapes = ", ".join(str(list(value.shape)) for value in inputs)
    return f"on {shapes}, as its docstring reads, its forward raised {raised}"


def _raised(forward: Callable[..., Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> str:
    """The class of what a forward raises on these inputs; empty where it takes them."""
    try:
        with Contained(), np.errstate(all="ignore"):
            forward(*copy.deepcopy(inputs), **options)
    except Exception as error:
        return type(error).__name__
    return ""


def _is_differentiable(subject: Any, inputs: Sequence[Any]) -> bool:
    """Whether an input, or something that the object holds, is a floating number or array."""
    held = (
        list(vars(subject).values()) if hasattr(subject, "__dict__") and not isinstance(subject, (type, FunctionType)) else []
    )
    return isinstance(subject, torch.nn.Module) or any(_is_floating(value) for value in (*inputs, *held))


def _is_floating(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") in ("f", "c")


def _floating(value: Any) -> Any:
    """Whole numbers, of which an author wrote a call, as the floating ones that have a gradient."""
    if isinstance(value, torch.Tensor):
        return value.to(torch.get_default_dtype()) if value.dtype != torch.bool else value
    if getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u"):
        return value.astype("float64")
    return float(value) if type(value) is int else value


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    floating = getattr(getattr(value, "dtype", None), "kind", "") == "f"
    return value.astype(str(dtype).removeprefix("torch.")) if floating and dtype is not torch.bfloat16 else value


def _computes_in_numpy(function: Callable[..., Any]) -> bool:
    """Whether a function names NumPy and not torch, or, where it names neither, its module has NumPy and not torch."""
    space = getattr(function, "__globals__", {})
    used = {_package(space.get(name)) for name in _names(getattr(function, "__code__", None))}
    if not used & {"numpy", "torch"}:
        used = {_package(value) for value in list(space.values())}
    return "numpy" in used and "torch" not in used


def _names(code: CodeType | None) -> set[str]:
    if code is None:
        return set()
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names, *(name for each in inner for name in _names(each))}


def _package(value: Any) -> str:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    return str(module).partition(".")[0]
