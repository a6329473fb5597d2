"""Which arguments a backward takes, in which order: read from the names of its parameters, as people write them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["upstream", "output", "input", "cache", "option"]

_UPSTREAM = frozenset(
    "g gs gy gys gz dy dz da dl dout d_out dy_ delta deltas upstream cotangent ct grad grads grad_out grad_output grad_outputs "
    "gradient gradients output_gradient output_grad dvalues dupstream grad_y grad_z grad_a d_y d_z dloss dl_dy dldy".split()
)
_OUTPUT = frozenset("output outputs out result ans y_hat o res".split())
_CACHE = frozenset("cache caches ctx context saved memo memory state tape stash linear_cache activation_cache".split())
_LOOKS_UPSTREAM = re.compile(
    r"^(d|d_|grad_?|gradient_?)(out|output|outputs|upstream|y|z|a|h|s|l|loss|score|scores|next|prev|val\w*)$"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a backward by role; `index` says which input, `name` which option. With `cached` the forward returns a
    cache after its outputs."""

    roles: tuple[tuple[Role, int, str], ...]
    cached: bool = False

    @property
    def takes_upstream(self) -> bool:
        """Whether it takes an upstream gradient."""
        return any(role == "upstream" for role, _, _ in self.roles)

    def is_standard(self, count: int) -> bool:
        """Whether it is called as that of a `gl.Op` with `count` inputs."""
        return [(role, index) for role, index, _ in self.roles] == [
            ("upstream", 0), ("output", 0), *(("input", i) for i in range(count))]  # fmt: skip

    def arguments(self, upstream: Any, output: Any, inputs: Sequence[Any], cache: Any, options: Mapping[str, Any]) -> list[Any]:
        """The positional arguments of one call."""
        held = {"upstream": upstream, "output": output, "cache": cache}
        return [
            inputs[index] if role == "input" else options[name] if role == "option" else held[role]
            for role, index, name in self.roles
        ]


def plan_of(backward: Callable[..., Any], names: Sequence[str], options: Mapping[str, Any], has_cache: bool) -> Plan | None:
    """The plan of a backward whose forward takes inputs of these `names`; None where its parameters do not tell.

    `has_cache` says whether the forward returns something after its outputs that is no array.
    """
    try:
        parameters = list(inspect.signature(backward).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = [p for p in parameters if p.kind is not p.VAR_KEYWORD and (p.default is p.empty or p.name in options)]
    if has_cache and len(positional) == 2:
        first = 1 if positional[0].name.lower() in _CACHE else 0
        roles = [("upstream", 0, ""), ("cache", 0, "")]
        return Plan(tuple(roles[::-1] if first else roles), True)  # type: ignore[arg-type]
    if has_cache:
        return None
    if len(positional) == len(names) + 2 and not _starts_with_input(positional[0].name, names):
        return Plan((("upstream", 0, ""), ("output", 0, ""), *(("input", i, "") for i in range(len(names)))))
    found = [_role(p.name, names, options) for p in positional]
    if None in found or sum(role is not None and role[0] == "upstream" for role in found) > 1:
        return None
    return Plan(tuple(role for role in found if role is not None))


def _role(name: str, names: Sequence[str], options: Mapping[str, Any]) -> tuple[Role, int, str] | None:
    if name in options:
        return "option", 0, name
    if name in names:
        return "input", list(names).index(name), ""
    plain = name.lower()
    if plain in _UPSTREAM or _LOOKS_UPSTREAM.match(plain):
        return "upstream", 0, ""
    return ("output", 0, "") if plain in _OUTPUT else None


def _starts_with_input(name: str, names: Sequence[str]) -> bool:
    return name in names and name.lower() not in _UPSTREAM


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters; none where they cannot be read."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


def is_cache_name(name: str) -> bool:
    """Whether a parameter of this name takes what the forward kept."""
    return name.lower() in _CACHE
