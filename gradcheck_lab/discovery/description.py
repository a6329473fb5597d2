"""How a module describes what it defines: the specs of its objects, written down or annotated, and how to construct them."""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gradcheck_lab import specs
from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.user_errors import text_of
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec
from gradcheck_lab.torch_internals import CustomOpDef, body_of

DESCRIPTION = "__gradcheck_specs__"


def specs_of(found: Any, module_name: str, name: str) -> tuple[Spec, ...]:
    """The specs of `found`, which is `name` in the module; empty when nothing describes its inputs.

    They are those in the module's `__gradcheck_specs__`, under its name or its class's; else its own `specs`; else read from
    annotations with a shape, such as jaxtyping's `Float[Tensor, "n d"]` or `Annotated[Tensor, real("n d")]`.
    Raises `InvalidArgument` for a description that cannot be read.
    """
    written = getattr(sys.modules.get(module_name), DESCRIPTION, {})
    for key in (name, type(found).__name__):
        if key in written:
            return read_specs(written[key], f"{DESCRIPTION}[{key!r}] of {module_name}")
    own = getattr(found, "specs", ())
    if isinstance(own, (tuple, list)) and own and all(isinstance(spec, Spec) for spec in own):
        return tuple(own)
    forward = forward_of(found)
    return () if forward is None else _annotated(forward, has_context(found))


def read_specs(written: Any, where: str) -> tuple[Spec, ...]:
    """Read "real('n d'), real('d')", or a tuple of specs or of their texts.

    >>> [str(spec) for spec in read_specs("real('n d'), labels('n', classes='d')", "here")]
    ["real('n d')", "labels('n', classes='d')"]
    """
    if isinstance(written, str):
        try:
            body = ast.parse(written.strip(), mode="eval").body
        except SyntaxError:
            return (specs.parse(written),)
        written = [ast.unparse(part) for part in body.elts] if isinstance(body, ast.Tuple) else [written]
    if isinstance(written, Spec):
        return (written,)
    if not isinstance(written, (tuple, list)) or not all(isinstance(part, (str, Spec)) for part in written):
        raise InvalidArgument(f"{where} is {written!r}; write one spec per input, such as \"real('n d'), real('d')\"")
    return tuple(specs.parse(part) if isinstance(part, str) else part for part in written)


def constructed(found: Any, name: str, seed: int, dtype: torch.dtype) -> Any:
    """What to check for `found`: an instance of a class, a module with its parameters in `dtype`, else `found` itself.

    Raises `InvalidArgument` for a class that cannot be constructed without arguments.
    """
    if isinstance(found, type) and not issubclass(found, torch.autograd.Function):
        found = _instance(found, name, seed)
    elif isinstance(found, torch.nn.Module):
        found = copy.deepcopy(found)
    return found.to(dtype) if isinstance(found, torch.nn.Module) else found


def has_context(found: Any) -> bool:
    """Whether the first parameter of `found.forward` is `ctx`."""
    base = torch.autograd.Function
    return isinstance(found, type) and issubclass(found, base) and found.setup_context is base.setup_context


def _instance(found: type, name: str, seed: int) -> Any:
    needed = _required(found)
    if needed:
        raise InvalidArgument(
            f"its constructor needs {', '.join(needed)}; make one in the module, such as {name.lower()} = {name}(...)"
        )
    try:
        with preserved_randomness(seed), Contained():
            return found()
    except Exception as error:
        raise InvalidArgument(f"constructing it raised {type(error).__name__}: {text_of(error)}") from error


def _required(found: type) -> list[str]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def forward_of(found: Any) -> Callable[..., Any] | None:
    """The forward of an op, a Function, a custom op, a pair, a layer or a module, or a function itself; None for the rest."""
    if isinstance(found, CustomOpDef):
        body: Callable[..., Any] = body_of(found)
        return body
    if isinstance(found, tuple) and found:
        found = found[0]
    forward = found if inspect.isroutine(found) else getattr(found, "forward", None)
    return forward if isinstance(found, Op) or callable(forward) else None


def positional_names(forward: Callable[..., Any], with_context: bool) -> tuple[list[str], list[str]]:
    """The names of the inputs that a forward takes by position, and those of them that it needs; none where unreadable."""
    try:
        parameters = list(inspect.signature(forward).parameters.values())[with_context:]
    except (TypeError, ValueError):
        return [], []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [p.name for p in positional], [p.name for p in positional if p.default is p.empty]


def _annotated(forward: Callable[..., Any], with_context: bool) -> tuple[Spec, ...]:
    try:
        parameters = list(inspect.signature(forward).parameters.values())[with_context:]
        hints = typing.get_type_hints(forward, include_extras=True)
    except Exception:  # annotations with undefined names give no specs
        return ()
    return _specs_of_hints(parameters, hints)


def _specs_of_hints(parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> tuple[Spec, ...]:
    found: list[Spec] = []
    for parameter in parameters:
        spec = _spec_of(hints.get(parameter.name))
        if spec is None:
            # the parameters after it need defaults
            rest = parameters[len(found) :]
            return tuple(found) if all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in rest) else ()
        found.append(spec)
    return tuple(found)


def _spec_of(hint: Any) -> Spec | None:
    """The spec that an annotation gives: one in `Annotated`, or what jaxtyping's `dim_str` and `dtypes` say."""
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Spec):
            return part
    dims, dtypes = getattr(hint, "dim_str", None), getattr(hint, "dtypes", None)
    if not isinstance(dims, str) or not isinstance(dtypes, (list, tuple)):
        return None
    kinds = {"float": specs.real, "bool": specs.mask, "int": specs.integers}
    try:
        return next((kind(dims) for start, kind in kinds.items() if any(str(d).startswith(start) for d in dtypes)), None)
    except InvalidArgument:  # a jaxtyping shape that no spec can express, such as "n+1"
        return None
