"""Wrong copies of sound ops, and right copies written in another way, as rows that tests run over."""

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.rules.op import Op

Rule = Callable[..., Any]
Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Planted:
    """A sound op with another backward.

    `causes` maps each input whose gradient is then wrong to its cause. `sizes` binds letters of the op's specs to one
    another ({"d_out": "d_in"}) where the mistake needs that.
    """

    name: str
    sound: Op
    rule: Rule
    causes: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    signature: int = 0

    @property
    def op(self) -> Op:
        return copy_of(self.sound, self.rule)

    def __str__(self) -> str:
        return f"{self.sound.name}-{self.name}"


@dataclass(frozen=True, slots=True)
class Twin:
    """A sound op with a backward that is right too, written in another way.

    It is drawn with the inputs and options that its rule takes; only by the first of `signatures` where that is all it knows.
    """

    name: str
    sound: Op
    rule: Rule
    first_signature: bool = False

    @property
    def op(self) -> Op:
        twin, known = copy_of(self.sound, self.rule), inspect.signature(self.rule).parameters.values()
        count = sum(parameter.kind == parameter.POSITIONAL_OR_KEYWORD for parameter in known) - 2
        named = {parameter.name for parameter in known}
        twin.signatures = tuple(s for s in twin.signatures if len(s) == count)[: 1 if self.first_signature else None]
        twin.choices = {name: values for name, values in twin.choices.items() if name in named}
        return twin

    def __str__(self) -> str:
        return f"{self.sound.name}-{self.name}"


def copy_of(op: Op, rule: Rule) -> Op:
    """The op with `rule` in the place of its own backward."""
    wrong = copy(op)
    wrong.rule = rule
    return wrong


def scaled(op: Op, index: int, factor: Callable[..., float | torch.Tensor]) -> Rule:
    """The op's rule with gradient `index` multiplied by `factor(*inputs)`."""

    def rule(grad_output: torch.Tensor, output: torch.Tensor, *inputs: torch.Tensor, **options: Any) -> tuple[Any, ...]:
        grads = list(op.backward(grad_output, output, *inputs, **options))
        grads[index] = grads[index] * factor(*inputs)
        return tuple(grads)

    return rule


def changed(op: Op, index: int, change: Callable[[torch.Tensor], Any]) -> Rule:
    """The op's rule with gradient `index` put through `change`."""

    def rule(grad_output: torch.Tensor, output: torch.Tensor, *inputs: torch.Tensor, **options: Any) -> tuple[Any, ...]:
        grads = list(op.backward(grad_output, output, *inputs, **options))
        grads[index] = change(grads[index])
        return tuple(grads)

    return rule
