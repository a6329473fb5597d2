"""Keyword options for callables that take positional arguments only, such as `Function.apply`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def positional_arguments(
    name: str,
    parameters: Sequence[inspect.Parameter],
    inputs: tuple[Any, ...],
    options: Mapping[str, Any],
    *,
    fill: bool,
    keywords: frozenset[str] = frozenset(),
) -> tuple[Any, ...]:
    """Return `inputs`, then the options in the order of `parameters`, with defaults between them.

    `fill` adds the defaults after the last option as well. Options named in `keywords` stay keywords. Raises
    `InvalidArgument` for too many inputs, unknown options and missing arguments.
    """
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if len(inputs) > len(positional) and not variadic:
        takes = ", ".join(parameter.name for parameter in positional) or "none"
        raise InvalidArgument(f"{name} takes {len(positional)} inputs ({takes}) and {len(inputs)} were given")
    free = positional[len(inputs) :]
    known = [parameter.name for parameter in free] + sorted(keywords)
    for option in options:
        if option not in known:
            accepted = f"it accepts {', '.join(known)}" if known else "it accepts none"
            raise InvalidArgument(f"{name} has no option {option!r}; {accepted}")
    wanted = [index for index, parameter in enumerate(free) if fill or parameter.name in options or _required(parameter)]
    placed = list(inputs)
    for parameter in free[: wanted[-1] + 1 if wanted else 0]:
        if parameter.name not in options and _required(parameter):
            raise InvalidArgument(
                f"{name} needs {parameter.name!r}, which was not given; pass it as input {len(placed)} or in options="
            )
        placed.append(options.get(parameter.name, parameter.default))
    return tuple(placed)


def with_options(names: Sequence[str], inputs: Sequence[Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return `inputs` with the values in `options` put in by name; tensors are inputs of their own and stay."""
    return tuple(
        options[name] if name in options and not isinstance(value, torch.Tensor) else value
        for name, value in zip(names, inputs, strict=True)
    )


def call_like_subject(
    reference: Callable[..., Any], count: int, names: Sequence[str], arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Call `reference` as the user called the subject: `count` positional arguments, and the options by keyword."""
    placed = dict(zip(names, arguments, strict=True))
    return reference(*arguments[:count], **{name: placed.get(name, value) for name, value in options.items()})


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty
