"""Read from a backward's signature which parameters take upstream gradients and which take the forward's inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.subjects.unread import Unread

RATES = frozenset("learning_rate lr alpha eta step_size learn_rate lrate learningrate rate l_rate".split())
PLURALS = frozenset("grad_outputs gys output_grads grad_ys douts d_outputs doutputs upstreams cotangents".split())
# so large that a parameter is no more than a rounding of its own step, and a power of two, which divides exactly
STEP = 2.0**20


@dataclass(frozen=True, slots=True)
class BackwardCall:
    """The signature of a backward: its upstream parameters, `required` of them without a default.

    `inputs` maps positions to the forward's inputs, for those that take them again, as `backward(y_pred, y_true)`. `rate` is
    the learning rate that a backward which steps its parameters is given.
    """

    title: str
    upstream: tuple[str, ...]
    required: int
    inputs: Mapping[str, int]
    variadic: bool
    order: tuple[str, ...]
    given: Mapping[str, Any]
    rate: float | None = None

    @property
    def takes_upstream(self) -> bool:
        """Whether a parameter can take an upstream gradient."""
        return bool(self.upstream) or self.variadic

    def arguments(
        self, grad_outputs: Sequence[Any], inputs: Sequence[Any], container: type | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The positional and keyword arguments of one backward.

        `container` is the tuple or list that the forward returned; a backward whose parameter is in the plural gets one too.
        Raises `InvalidArgument` where it requires more arguments than one upstream gradient per output.
        """
        values = {name: inputs[index] for name, index in self.inputs.items()} | dict(self.given)
        count = len(grad_outputs)
        if self.required > max(1, count) or (1 < self.required < count):
            extra = self.upstream[min(count, self.required - 1) : self.required]
            raise Unread(
                f"backward of {self.title} needs {' and '.join(self.upstream[: self.required])} and its forward has "
                f"{count} output{'s' if count > 1 else ''}",
                f"give what is no upstream gradient with "
                f"gl.Layer(obj, backward={{{', '.join(f'{name!r}: ...' for name in extra)}}})"
            )
        if not self.upstream and self.variadic:
            return list(grad_outputs), values
        if self.upstream:
            if container in (tuple, list) and len(self.upstream) == 1 and self.upstream[0].lower() in PLURALS:
                return self._positional(values | {self.upstream[0]: container(grad_outputs)})
            each = count if count <= len(self.upstream) and self.required in (0, count) else 1
            values |= dict(zip(self.upstream, grad_outputs if each == count else [tuple(grad_outputs)], strict=False))
        return self._positional(values)

    def _positional(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        positional: list[Any] = []
        for name in self.order:
            if name not in values:
                break
            positional.append(values.pop(name))
        return positional, values


def backward_call(
    title: str, backward: Callable[..., Any], input_names: Sequence[str], given: Mapping[str, Any], elementwise: bool = False
) -> BackwardCall:
    """Read the signature of `backward`; `given` are arguments that the user set by name.

    That of an `elementwise` derivative takes the forward's inputs, whatever it calls them, unless it takes more than these.
    Raises `InvalidArgument` for a name in `given` that it does not have.
    """
    parameters = list(inspect.signature(backward).parameters.values())
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known = [*names, *(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)]
    for name in given:
        if name not in known:
            raise InvalidArgument(f"backward of {title} has no argument {name!r}; it has {', '.join(known) or 'none'}")
    rates = [n for n in known if n.lower() in RATES and n not in input_names and set(names) - {n}]
    given = {**dict.fromkeys(rates, STEP), **given}
    rate = next((float(given[name]) for name in rates), None)
    free = [name for name in names if name not in given]
    needed = {p.name for p in parameters if p.default is p.empty}
    if elementwise and len(free) == len(input_names):
        inputs = {name: k for k, name in enumerate(free)}
        return BackwardCall(title, (), 0, inputs, False, tuple(names), given)
    again = {name: list(input_names).index(name) for name in free if name in input_names and name in needed}
    if len(again) == 1 and needed & set(free) == set(again) and len(input_names) == 1:
        again = {}  # backward(self, x) of forward(self, x): a single parameter is the upstream gradient, whatever its name
    upstream = tuple(name for name in free if name not in again)
    required = sum(name in needed for name in upstream)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return BackwardCall(title, upstream, required, again, variadic, tuple(names), given, rate)
