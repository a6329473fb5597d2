"""Which inputs of a layer the entries that its backward returns belong to, and which inputs get no gradient by design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.subjects.data_inputs import TARGETS, is_named
from gradcheck_lab.subjects.layers.entries import entry_of
from gradcheck_lab.subjects.layers.gradient_names import partners
from gradcheck_lab.subjects.layers.parameters import Parameter

_PREDICTIONS = frozenset(
    "p pred preds prediction predictions predicted y_pred ypred y_hat yhat logits scores probs out output outputs".split()
)


@dataclass(frozen=True, slots=True)
class Roles:
    """`slots` are the inputs, by index, that returned entries belong to, in order, where there are fewer of them than inputs.

    `constants` are the floating inputs that the backward has no gradient for: targets, and `data` of a network whose backward
    returns nothing and stores the gradients of its parameters. `sources` are the entries, one an input, of a backward that
    returns a dict, by the names of its keys.
    """

    slots: tuple[int, ...]
    constants: frozenset[int]
    data: frozenset[int] = frozenset()
    sources: tuple[int | None, ...] | None = None


def floating_inputs(tensors: Sequence[Any]) -> list[int]:
    """The inputs, by index, that a gradient exists for."""
    return [i for i, value in enumerate(tensors) if is_differentiable(value)]


def roles_of(
    names: Sequence[str],
    tensors: Sequence[Any],
    parameters: Sequence[Parameter],
    returned: Sequence[str] | None,
    entries: Sequence[Any] | None,
    loss: bool,
    kept: frozenset[str] | None,
    keys: Sequence[str | None] = (),
    numbers: frozenset[int] = frozenset(),
) -> Roles:
    """Decide by what the backward returned in a trial, `entries`, else by the names in its code, `returned`.

    `loss` is set for a backward that needs no upstream gradient; `kept` are names under which the backward may keep gradients,
    None where it may keep them on the inputs themselves. `keys` are those of a returned dict. `numbers` are inputs that are
    plain numbers beside arrays.
    """
    floating = floating_inputs(tensors)
    if keys:
        return _by_keys(names, tensors, floating, parameters, keys, loss)
    among = {p.returned for p in parameters if p.returned is not None}
    if entries is not None:
        own = [value for k, value in enumerate(entries) if k not in among]
    else:
        own = [None] * (1 if returned is None else len(returned) - len(among))
    if not own and among and loss:  # `loss, dW = f(X, y)`: every gradient is one of what the object holds
        targets = frozenset(i for i in floating if _is_target(names[i], tensors[i]))
        return Roles(tuple(floating), frozenset(floating), frozenset(floating) - targets)
    if not own or (entries is not None and all(value is None for value in own)):
        first = _claimed(names, tensors, floating, [None])
        targets = frozenset(i for i in floating if i not in first and (_is_target(names[i], tensors[i]) or loss))
        data = _given_no_gradient(names, floating, parameters, returned, kept) - targets
        return Roles(tuple(floating), targets | data, data)
    if len(own) >= len(names):
        none = [i for i in floating if entries is not None and own[i] is None]
        without = frozenset(i for i in none if _is_target(names[i], tensors[i]) or loss or i in numbers)
        return Roles(tuple(range(len(names))), without, without & numbers)
    words = [word for k, word in enumerate(returned or ()) if k not in among]
    slots = _named(names, floating, words, len(own))
    told = bool(slots)
    if not told:
        slots = _claimed(names, tensors, [i for i in floating if i not in numbers], own)
        slots = slots if len(slots) == len(own) else _claimed(names, tensors, floating, own)
    left = [i for i in floating if i not in slots]
    # what has the shape of a gradient may be what that belongs to, unless the gradient's name says otherwise
    shapes = set() if told else {tuple(v.shape) for v in own if isinstance(v, torch.Tensor)}
    apart = {i for i in left if i in numbers or (loss and tuple(tensors[i].shape) not in shapes)}
    constants = frozenset(i for i in left if i in apart or _is_target(names[i], tensors[i]))
    untold = frozenset(i for i in constants if i in numbers or (loss and not is_target_name(names[i])))
    return Roles(slots, constants, untold)


def _by_keys(
    names: Sequence[str], tensors: Sequence[Any], floating: Sequence[int], parameters: Sequence[Parameter],
    keys: Sequence[str | None], loss: bool,
) -> Roles:  # fmt: skip
    """Decide by the keys of a returned dict; entries beside it belong to the inputs that no key names, in order."""
    sources = [entry_of(name, keys) if i in floating else None for i, name in enumerate(names)]
    taken = {p.returned for p in parameters}
    beside = iter([k for k, key in enumerate(keys) if key is None and k not in taken])
    for i in floating:
        if sources[i] is None:
            sources[i] = next(beside, None)
    left = [i for i in floating if sources[i] is None]
    targets = frozenset(i for i in left if _is_target(names[i], tensors[i]))
    within = [names[i] for i in floating if sources[i] is not None]
    in_container = bool(within) and all("[" in name for name in within)  # `grads = backward(params, x, dout)`
    data = frozenset(left) - targets if loss or parameters or in_container else frozenset()
    return Roles(tuple(floating), targets | data, data, tuple(sources))


def _named(names: Sequence[str], floating: Sequence[int], words: Sequence[str], count: int) -> tuple[int, ...]:
    """The inputs that the names of the returned entries belong to, as `dWx` of `Wx`; none where a name does not tell."""
    found = [[i for i in floating if word and partners(names[i], [word])] for word in words]
    if len(words) != count or not all(len(each) == 1 for each in found) or len({each[0] for each in found}) != count:
        return ()
    return tuple(each[0] for each in found)


def _claimed(names: Sequence[str], tensors: Sequence[Any], floating: Sequence[int], own: Sequence[Any]) -> tuple[int, ...]:
    """The inputs that the returned entries belong to: predictions first, then those of an entry's shape, targets last."""
    shapes = [tuple(v.shape) if isinstance(v, torch.Tensor) else None for v in own]
    fits = {i: tuple(tensors[i].shape) in shapes for i in floating}
    known = any(shape is not None for shape in shapes)

    # zeros and ones are taken for a target only beside a prediction, by name or by other values
    def order(i: int) -> tuple[bool, bool, bool, bool, int]:
        plain = names[i].lower().strip("_")
        return plain in TARGETS, plain not in _PREDICTIONS, known and not fits[i], _is_target(names[i], tensors[i]), i

    ordered = sorted(floating, key=order)
    return tuple(sorted(ordered[: len(own)]))


def _given_no_gradient(
    names: Sequence[str], floating: Sequence[int], parameters: Sequence[Parameter], returned: Sequence[str] | None,
    kept: frozenset[str] | None,
) -> frozenset[int]:  # fmt: skip
    """The inputs of a network whose backward returns nothing: no gradient of them is stored, or computed and then forgotten."""
    if kept is None or not parameters or (returned is not None and returned):
        return frozenset()
    return frozenset(i for i in floating if not partners(names[i], kept))


def is_target_name(name: str) -> bool:
    """Whether an argument of this name is a target: `y_true`, `t`, `labels`."""
    return is_named(name, TARGETS)


def _is_target(name: str, value: torch.Tensor) -> bool:
    zeros_and_ones = bool(((value == 0) | (value == 1)).all())
    return is_target_name(name) or (value.ndim > 0 and value.numel() > 0 and zeros_and_ones)
