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
    r"^(d|d_|grad_?|gradient_?)(out|output|outputs|upstream|y|z|a|h|c|s|l|loss|score|scores|next|prev|val\w*)$"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a backward by role; `index` says which input or output, `name` which option. With `cached` the forward
    returns a cache after its outputs. One upstream argument stands for all outputs, several for one each."""

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
        each = sum(role == "upstream" for role, _, _ in self.roles) > 1
        return [
            inputs[index] if role == "input" else options[name] if role == "option"
            else upstream[index] if role == "upstream" and each else held[role]
            for role, index, name in self.roles
        ]  # fmt: skip


def plan_of(
    backward: Callable[..., Any],
    names: Sequence[str],
    options: Mapping[str, Any],
    has_cache: bool,
    outputs: Sequence[str] | None = None,
) -> Plan | None:
    """The plan of a backward whose forward takes inputs of these `names`; None where its parameters do not tell.

    `has_cache` says whether the forward returns something after its `outputs` that is no array; these have
    names, or "", and are None where nobody ran it yet.
    """
    try:
        parameters = list(inspect.signature(backward).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = [p for p in parameters if p.kind is not p.VAR_KEYWORD and (p.default is p.empty or p.name in options)]
    if has_cache:
        return _with_cache([p.name for p in positional], outputs or ("",), names, options)
    usual = len(positional) == len(names) + 2 and not _starts_with_input(positional[0].name, names)
    if usual and (outputs is None or len(outputs) < 2) and not (outputs is None and is_upstream_name(positional[1].name)):
        return Plan((("upstream", 0, ""), ("output", 0, ""), *(("input", i, "") for i in range(len(names)))))
    found = [_role(p.name, names, options) for p in positional]
    upstream = [p.name for p, role in zip(positional, found, strict=True) if role is not None and role[0] == "upstream"]
    if None in found or len(upstream) not in (0, 1, len(outputs or ())):
        return None
    which = iter(_outputs_of(upstream, outputs or ()))
    roles = (role for role in found if role is not None)
    return Plan(tuple(("upstream", next(which), "") if role[0] == "upstream" else role for role in roles))


def _with_cache(
    parameters: Sequence[str], outputs: Sequence[str], names: Sequence[str], options: Mapping[str, Any]
) -> Plan | None:
    """The plan of a backward that takes a cache, by its name or else last, and one upstream gradient or one for each output.

    Parameters of the names of inputs or options, as in `backward(dA, cache, activation)`, take these.
    """
    again = {name: role for name in parameters if (role := _given(name, names, options)) is not None}
    free = [k for k, name in enumerate(parameters) if name not in again]
    if len(free) < 2:
        again, free = {}, list(range(len(parameters)))
    if len(free) not in (2, len(outputs) + 1):
        return None
    if again and not all(is_upstream_name(parameters[k]) or parameters[k].lower() in _CACHE for k in free):
        return None  # `backward(parameters, cache, X, Y)`: the target of a loss is no upstream gradient
    at = next((k for k in free if parameters[k].lower() in _CACHE), free[-1])
    which = iter(_outputs_of([parameters[k] for k in free if k != at], outputs))
    roles: list[tuple[Role, int, str]] = [
        again[name] if name in again else ("cache", 0, "") if k == at else ("upstream", next(which), "")
        for k, name in enumerate(parameters)
    ]
    return Plan(tuple(roles), True)


def _outputs_of(parameters: Sequence[str], outputs: Sequence[str]) -> list[int]:
    """Which output each upstream parameter goes with: by names such as `dh` of `h` where they tell, else in order."""
    bare = [re.sub(r"^(d|grad|gradient|g)_?", "", name.lower()) for name in parameters]
    named = [name.lower() for name in outputs]
    if len(parameters) == len(outputs) and len(set(bare)) == len(bare) and set(bare) == set(named):
        return [named.index(name) for name in bare]
    return list(range(len(parameters)))


def _role(name: str, names: Sequence[str], options: Mapping[str, Any]) -> tuple[Role, int, str] | None:
    given = _given(name, names, options)
    if given is not None:
        return given
    if is_upstream_name(name):
        return "upstream", 0, ""
    return ("output", 0, "") if is_output_name(name) else None


def _given(name: str, names: Sequence[str], options: Mapping[str, Any]) -> tuple[Role, int, str] | None:
    if name in options:
        return "option", 0, name
    return ("input", list(names).index(name), "") if name in names else None


def is_upstream_name(name: str) -> bool:
    """Whether a parameter of this name takes an upstream gradient."""
    plain = name.lower().rstrip("0123456789").rstrip("_")  # d1 and d2, for two outputs
    return plain in (*_UPSTREAM, "d") or _LOOKS_UPSTREAM.match(plain) is not None


def is_output_name(name: str) -> bool:
    """Whether a parameter of this name takes what the forward returned."""
    return name.lower() in _OUTPUT


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
