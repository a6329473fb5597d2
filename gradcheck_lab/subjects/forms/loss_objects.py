"""The adapter of losses whose backward takes the prediction and the target: `backward(dvalues, y_true)`, as books have it.

Their forward gives one loss a sample, and the gradient is that of the mean over samples, which their `calculate()` returns.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.rules.methods import Methods, methods_of
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.gradient_names import looks_like_gradient
from gradcheck_lab.subjects.layers.paths import attributes, is_array
from gradcheck_lab.subjects.layers.roles import is_target_name
from gradcheck_lab.subjects.subject import Subject, importable

_KEPT = ("output", "outputs", "out", "y", "probs", "probabilities")


class MeanLoss:
    """A loss of the user's as a layer: the mean of its losses, and the gradient that its backward returns or leaves on it."""

    def __init__(self, loss: Any, methods: Methods) -> None:
        self.loss = loss
        self._methods = methods
        self._prediction: Any = None
        self._target: Any = None

    def forward(self, prediction: Any, target: Any) -> Any:
        """The mean over samples of the user's losses."""
        self._prediction, self._target = prediction, target
        losses = getattr(self.loss, self._methods.forward)(prediction, target)
        return losses.mean() if is_array(losses) else losses

    def backward(self) -> Any:
        """The user's gradient, called with the prediction, or with what the forward kept of it."""
        kept = [v for v in map(self._kept, _KEPT) if v is not None]
        given: Any = kept[0] if kept else self._prediction
        before = dict(attributes(self.loss))
        returned = getattr(self.loss, self._methods.backward)(given, self._target)
        if returned is not None:
            return returned
        stored = {name: v for name, v in attributes(self.loss).items() if is_array(v) and v is not before.get(name)}
        return next((v for name, v in stored.items() if v.shape == given.shape and looks_like_gradient(name)), None)

    def _kept(self, name: str) -> Any:
        held: Any = attributes(self.loss).get(name)
        return held if is_array(held) and held.shape == self._prediction.shape else None


def adapt_loss_object(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a loss whose backward takes no upstream gradient but the prediction; anything else is declined.

    Which of the two it takes is found by a call: an upstream gradient has the shape of the losses.
    """
    if isinstance(value, (type, torch.nn.Module)) or len(inputs) != 2 or options or not is_array(inputs[0]):
        return None
    methods = methods_of(value)
    if methods is None or methods.elementwise:
        return None
    forward, backward = getattr(value, methods.forward), getattr(value, methods.backward)
    taken, again = _required(forward), _required(backward)
    if len(taken) != 2 or len(again) != 2 or not (is_target_name(taken[1]) and is_target_name(again[1])):
        return None
    if not _takes_prediction(MeanLoss(value, methods), inputs):
        return None
    return layer_subject(
        MeanLoss(value, methods), type(value).__name__, Methods("forward", "backward"), inputs, options,
        target=importable(value), written=(forward, backward),
    )  # fmt: skip


def _takes_prediction(layer: MeanLoss, inputs: tuple[Any, ...]) -> bool:
    with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
        try:
            mean = copy.deepcopy(layer)
            mean.forward(*copy.deepcopy(inputs))
            found = mean.backward()
        except Exception:
            return False
        if not is_array(found) or found.shape != inputs[0].shape:
            return False
        return not _takes_upstream(copy.deepcopy(layer), copy.deepcopy(inputs))


def _takes_upstream(layer: MeanLoss, inputs: tuple[Any, ...]) -> bool:
    """Whether its backward gives a gradient of the prediction from an upstream gradient of the losses."""
    forward, backward = (getattr(layer.loss, name) for name in (layer._methods.forward, layer._methods.backward))
    try:
        losses = forward(*inputs)
        before = dict(attributes(layer.loss))
        returned = backward(losses * 0 + 1.0, inputs[1])
    except Exception:
        return False
    now = [v for name, v in attributes(layer.loss).items() if looks_like_gradient(name) and v is not before.get(name)]
    return any(is_array(v) and v.shape == inputs[0].shape for v in ([returned] if returned is not None else now))


def _required(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
