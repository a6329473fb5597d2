"""What `compare` is given, as pairs: each gradient made by hand with autograd's, or with the one of the other side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.comparison.finished import Pair, as_tensor
from gradcheck_lab.comparison.notebook import HandMade, hand_made, own_variables
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import one_line


@dataclass(frozen=True, slots=True)
class Pairs:
    """Gradients to compare; the variables of a notebook that they are from, None for others; why more are left out.

    `others` are gradients of a notebook that nobody asked for, which may be why one of the `pairs` is wrong.
    """

    pairs: list[Pair]
    variables: Mapping[str, Any] | None = None
    left_out: tuple[str, ...] = ()
    others: tuple[Pair, ...] = ()


def pairs_of_notebook(values: Any, is_made: Callable[[HandMade], bool] = lambda made: True) -> Pairs:
    """The gradients made by hand among variables that `is_made` picks, each with autograd's. Raises `InvalidArgument`."""
    if not isinstance(values, Mapping):
        raise InvalidArgument(
            f"compare was given a {type(values).__name__} and no reference; pass gl.compare(manual, reference) or "
            "gl.compare(globals())"
        )
    variables = own_variables(values)
    found, forward = hand_made(variables)
    if not found:
        taken = f"; {', '.join(map(one_line, forward))} went into the loss" if forward else ""
        raise InvalidArgument(
            "nothing to compare: no tensor in the mapping has a gradient made by hand; call it dX, X_grad or grads['X'], or "
            "set X.grad_ = ..., beside autograd's X.grad, or pass gl.compare(manual, reference)"
            f"{taken}"
        )
    picked = [each for each in found if is_made(each)]
    if not picked:
        held = ", ".join(one_line(each.where) for each in found)
        raise InvalidArgument(f"nothing to compare: the cell made none of the gradients by hand, {held}; --all compares these")
    count = Counter(each.name for each in found)
    pairs, others = list[Pair](), list[Pair]()
    for each in found:
        tensor = one_line(str(each.name))
        name = tensor if count[each.name] == 1 else f"{tensor} ({one_line(each.where)})"
        where = None if each.on_tensor or count[each.name] > 1 else one_line(each.where)
        pair = Pair(name, each.gradient, *_autograd(tensor, each.tensor), where=where, tensor=each.tensor)
        (pairs if any(each is one for one in picked) else others).append(pair)
    return Pairs(pairs, variables, ("a value of the forward",) * len(forward), tuple(others))


def _autograd(name: str, value: torch.Tensor) -> tuple[torch.Tensor | None, str | None]:
    if not value.requires_grad:
        return (
            None,
            f"{name} does not require grad, so autograd has no gradient for it; set requires_grad on the leaves",
        )
    if not value.is_leaf and not value.retains_grad:
        return (
            None,
            f"{name} is an intermediate and autograd dropped its gradient; call {name}.retain_grad() before backward()",
        )
    if value.grad is None:
        return None, f"{name} has no .grad yet; call backward() on the loss first"
    return value.grad, None


def pairs_of_sides(manual: Any, reference: Any) -> Pairs:
    """Gradients and what they are held against, by name or position. Raises `InvalidArgument` where these do not match."""
    mine, theirs = _named(manual), _named(reference)
    if mine.keys() != theirs.keys():
        only = [f"{k!r} is in manual only" for k in mine if k not in theirs]
        only += [f"{k!r} is in reference only" for k in theirs if k not in mine]
        raise InvalidArgument(f"the two sides do not match: {', '.join(only)}; give both the same names")
    if not mine:
        raise InvalidArgument("nothing to compare: manual and reference are empty; pass the gradients")
    pairs = []
    for name, value in theirs.items():
        tensor = as_tensor(value, name, "reference")
        if tensor is not None and tensor.requires_grad:
            pairs.append(Pair(name, mine[name], *_autograd(name, tensor)))
        else:
            pairs.append(Pair(name, mine[name], tensor))
    return Pairs(pairs)


def _named(values: Any) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {one_line(str(key)): value for key, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return {f"gradient {k}": value for k, value in enumerate(values)}
    return {"gradient": values}
