"""The names under which layers keep gradients: `dW`, `grad_weight`, `weight_grad`, `grads` beside `params`, `W.grad_`."""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTAINERS = {"params": "grads", "parameters": "gradients", "weights": "grads"}
DICTIONARIES = ("grads", "gradients", "grad", "d_params", "dparams")
ON_TENSORS = ("grad_", "g", "grad", "gradient")
ON_OBJECTS = ("grad", "gradient", "g", "grad_")

_FORMS = ("d{}", "d_{}", "grad_{}", "{}_grad", "grad{}", "{}grad", "gradient_{}", "{}_gradient", "grads_{}", "{}_grads",
          "gradients_{}", "{}_gradients", "dl_d{}", "dld{}", "dloss_d{}")  # fmt: skip
_RARE = ("g_{}", "{}_g", "g{}", "delta_{}", "delta{}", "nabla_{}", "{}_delta", "{}_diff")
_GRADIENT = re.compile(r"^(?:d|d_|grad_?|gradient_?)([a-z]+\d*)$|^([a-z]+\d*)_?(?:grad|gradient)$")
_SUFFIX = r"(_?[xhifogczruqkv]{1,2}|_?\d+)?"
_PARAMETER = re.compile(rf"^_?(w|b|weights?|bias|biases|kernels?|filters?|gamma|beta|theta|embeddings?){_SUFFIX}_?$")


def partners(name: str, available: Iterable[str]) -> list[str]:
    """The names in `available` that would hold the gradient of `name`: the usual forms, else the rarer ones."""
    known = {_plain(other): other for other in available if other != name}
    stem = _plain(name)
    whole = [known[form] for form in _container_forms(stem) if form in known]
    if whole:
        return whole[:1]
    for forms in (_FORMS, _RARE):
        found = [known[form.format(stem)] for form in forms if form.format(stem) in known]
        if found:
            return found
    return []


def is_usual(name: str, gradient: str) -> bool:
    """Whether `gradient` is one of the usual forms for the gradient of `name`, and none of the rarer ones: `gx`, `x_g`."""
    return _plain(gradient) in {form.format(_plain(name)) for form in _FORMS}


def looks_like_parameter(name: str) -> bool:
    """Whether `name` is usual for a trained array: W, b1, weight, bias, gamma, Wx."""
    return bool(_PARAMETER.match(name.lower()))


def looks_like_gradient(name: str) -> bool:
    """Whether `name` is usual for a gradient: dW, d_x, grad_input, dinputs."""
    return bool(_GRADIENT.match(_plain(name)))


def abbreviated(names: list[str], available: Iterable[str]) -> dict[str, str]:
    """Pair `weights` with `dw` and `bias` with `db`: names without a partner, where only one pairing is possible."""
    stems = {other: found.group(1) or found.group(2) for other in available if (found := _GRADIENT.match(_plain(other)))}
    readings = {name: [g for g, stem in stems.items() if _plain(name).startswith(stem)] for name in names}
    used = [gradient for found in readings.values() for gradient in found]
    return {name: found[0] for name, found in readings.items() if len(found) == 1 and used.count(found[0]) == 1}


def _container_forms(stem: str) -> list[str]:
    if stem not in CONTAINERS:
        return []
    return [CONTAINERS[stem], "grads", "gradients", "grad", "dparams", "d_params"]


def _plain(name: str) -> str:
    return name.strip("_").lower()
