"""What a layer holds: its parameters, also those that its first forward creates, and arrays without a gradient to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import ARRAYS_TRIED
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.rules.layer import Layer
from gradcheck_lab.rules.methods import Methods, methods_of
from gradcheck_lab.subjects.layers.backward_call import RATES
from gradcheck_lab.subjects.layers.code import decides_by_attributes, layer_code
from gradcheck_lab.subjects.layers.gradient_names import looks_like_parameter, partners
from gradcheck_lab.subjects.layers.parameters import Parameter, Search, cannot_tell, named_parameters, search_parameters, taken
from gradcheck_lab.subjects.layers.paths import ObjectPath, attributes, is_number, owners
from gradcheck_lab.subjects.layers.trial import Trial, Trials
from gradcheck_lab.subjects.unread import Unread


@dataclass(frozen=True, slots=True)
class Found:
    """The layer to check, which is a copy where its first forward creates parameters, and what it holds.

    `rates` are the learning rates that it holds and steps its parameters with.
    """

    layer: Any
    parameters: tuple[Parameter, ...]
    notes: tuple[Finding, ...] = ()
    rates: tuple[ObjectPath, ...] = ()


def wants_trial(layer: Any, methods: Methods) -> bool:
    """Whether only a call shows what the layer holds: a forward that tests attributes, or stores what may be a parameter."""
    if decides_by_attributes(layer, methods):
        return True
    for path, owner in owners(layer):
        pair = methods if not path.steps else methods_of(owner) or Methods("forward", "backward")
        code = layer_code(owner, pair)
        available = {*attributes(owner), *code.names}
        if any(looks_like_parameter(name) or (name in attributes(owner) and partners(name, available)) for name in code.saved):
            return True
    return False


def find(
    layer: Any,
    title: str,
    methods: Methods,
    returned: Sequence[str] | None,
    explicit: Layer | None,
    trials: Trials,
    trial: Trial | None,
) -> Found:
    """Find the parameters by the usual names, or as the user named them in `explicit`.

    Raises `InvalidArgument` where an array that the forward reads has a gradient that cannot be told, or an ambiguous one.
    """
    kept = trial.kept if trial is not None else frozenset[str]()
    searched, search = layer, search_parameters(layer, title, methods, returned, kept)
    shown, among = layer, search
    if trial is not None and trial.created:
        shown, among = trial.layer, search_parameters(trial.layer, title, methods, returned, kept)
        # a copy after its first forward is checked only where that creates parameters: it may hold a mask of the call's size
        if {str(p.path) for p in among.found.values()} & trial.created:
            searched, search = shown, among
    grads, wanted = (explicit.grads, explicit.parameters) if explicit is not None else (None, None)
    if grads is not None or wanted is not None:
        usual = [name for name in wanted or () if name not in (grads or {})]
        automatic = taken(search, usual) if usual else ()
        return Found(searched, named_parameters(searched, title, grads or {}, automatic))
    if among.doubtful:
        raise Unread(*among.doubtful[0])
    if trial is None and (among.lost or among.others or _may_keep_no_gradient(among, shown, trials)):
        trial = trials.run(layer)
    stepped, rates = _stepped(among, shown, trials, trial)
    if shown is not searched and stepped:
        searched, search = shown, among
    notes = _judged(among, shown, trials, trial)
    return Found(searched, (*search.found.values(), *stepped), notes, rates)


def _stepped(
    search: Search, layer: Any, trials: Trials, trial: Trial | None
) -> tuple[tuple[Parameter, ...], tuple[ObjectPath, ...]]:
    """Take those arrays without a gradient that the backward itself steps, and the learning rates on the layer for that."""
    written = trial.stored if trial is not None else {}
    empty = {k: p.path for k, p in search.found.items() if p.gradients and not any(str(g) in written for g in p.gradients)}
    alone = {**search.lost, **search.others, **{k: path for k, path in empty.items() if _has_none(search.found[k], layer)}}
    changed = {key: path for key, path in alone.items() if str(path) in written}
    rates = _rates(layer, list(changed.values()))
    if not changed or (trials.signature.rate is None and not rates):
        return (), ()
    for key in changed:
        for known in (search.lost, search.others, search.found):
            known.pop(key, None)
    found = tuple(Parameter(str(path), path, path.get(layer), stepped=True) for path in changed.values())
    return found, () if trials.signature.rate is not None else rates


def _may_keep_no_gradient(search: Search, layer: Any, trials: Trials) -> bool:
    """Whether a layer with a learning rate has a place for a gradient and nothing there yet, so that it may only step."""
    empty = [p.path for p in search.found.values() if _has_none(p, layer)]
    return bool(empty) and (trials.signature.rate is not None or bool(_rates(layer, empty)))


def _has_none(parameter: Parameter, layer: Any) -> bool:
    return bool(parameter.gradients) and parameter.gradient(layer) is None


def _rates(layer: Any, paths: Sequence[ObjectPath]) -> tuple[ObjectPath, ...]:
    """The learning rates on a layer, and on the objects that hold the arrays at `paths`."""
    places = {ObjectPath(): layer, **{ObjectPath(path.steps[:-1]): path.owner(layer) for path in paths}}
    return tuple(
        place.attribute(name)
        for place, owner in places.items()
        for name, value in attributes(owner).items()
        if name.lower() in RATES and is_number(value)
    )


def _judged(search: Search, layer: Any, trials: Trials, trial: Trial | None) -> tuple[Finding, ...]:
    """Notes on arrays without a gradient; raises `InvalidArgument` for parameters, by their names or by what is stored."""
    others = {key: path for key, path in search.others.items() if key not in search.found and key not in search.lost}
    if len(search.lost) + len(others) <= ARRAYS_TRIED.value:
        search = replace(search, lost={key: path for key, path in search.lost.items() if trials.reads(layer, path)})
        others = {key: path for key, path in others.items() if trials.reads(layer, path)}
    stored, alone = _unclaimed(search, trial), (*search.lost.values(), *others.values())
    hints = {str(path): at for path in alone if (at := _of_shape(path.get(layer), stored)) is not None}
    lost = [*search.lost.values(), *(path for path in others.values() if str(path) in hints)]
    if lost:
        problem, fix = cannot_tell(search, lost, hints)
        if trial is not None and trial.error is not None and not isinstance(trial.error, InvalidArgument):
            problem = f"{problem}: its backward raises {class_and_line(trial.error)}"
        raise Unread(problem, fix, [str(path) for path in lost])
    return tuple(_not_compared(search.title, path) for path in others.values())


def _unclaimed(search: Search, trial: Trial | None) -> dict[str, Any]:
    """The arrays that the backward stored on the layer and that are no parameter, no gradient of one and not returned."""
    if trial is None:
        return {}
    known = {str(path) for parameter in search.found.values() for path in (parameter.path, *parameter.gradients)}
    known |= {str(path) for path in (*search.others.values(), *search.lost.values())}
    returned = [np.asarray(v.detach().resolve_conj()) for v in trial.returned or () if isinstance(v, torch.Tensor)]
    return {
        path: value
        for path, value in trial.stored.items()
        if path not in known and not any(np.array_equal(np.asarray(value), other) for other in returned)
    }


def _of_shape(value: Any, stored: dict[str, Any]) -> str | None:
    return next((path for path, other in stored.items() if tuple(other.shape) == tuple(value.shape)), None)


def _not_compared(title: str, path: ObjectPath) -> Finding:
    return Finding(
        "not-compared",
        "note",
        f"{title} reads {str(path)!r} in its forward and keeps no gradient of it, so that none was compared",
        explanation="it was taken for a constant",
        suggestion=f"name its gradient with gl.Layer(obj, grads={{{str(path)!r}: ...}}) if it is trained",
    )
