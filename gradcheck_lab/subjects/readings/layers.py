"""Readings of an object that cannot be read as a layer: which methods are its two passes, and where its gradients are."""

from __future__ import annotations

import copy
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.limits import READINGS_TRIED
from gradcheck_lab.rules.methods import BACKWARDS, FUNCTIONS, Methods, hand_written_methods, own_functions, reached_from
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.forms.backward_plan import is_upstream_name
from gradcheck_lab.subjects.layers.backward_call import RATES
from gradcheck_lab.subjects.layers.gradient_names import looks_like_parameter
from gradcheck_lab.subjects.layers.paths import attributes, is_array
from gradcheck_lab.subjects.readings.evidence import Evidence
from gradcheck_lab.subjects.readings.layer_calls import CalledObject, LayerCall, Place, Places
from gradcheck_lab.subjects.readings.reading import Reading, refusal
from gradcheck_lab.subjects.readings.users_names import input_names_in_use, name_in_use

_PREPARES = re.compile(r"_?(setup|set_up|build|initiali[sz]e|init|prepare|compile|create|make|reset|start|allocate)\w*")


def unread_layer(
    problem: str, obj: Any, inputs: Sequence[Any], options: Mapping[str, Any], methods: Methods | None = None, shown: str = "",
    lost: Sequence[str] = (),
) -> InvalidArgument | None:  # fmt: skip
    """The refusal of an object as a layer, with `methods` where they are known; None where no reading of it runs.

    `shown` is what makes the object, where no variable holds it; `lost` are arrays whose gradients a reading has to find.
    """
    with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
        try:
            found = _readings(obj, inputs, options, methods, shown or name_in_use(obj, "layer"), lost)
        except Exception:  # it cannot be copied, or raises when it is looked at
            return None
    return refusal(problem, found) if found else None


def unprepared_layer(
    problem: str, obj: Any, inputs: Sequence[Any], options: Mapping[str, Any], forward: str
) -> InvalidArgument | None:
    """The refusal of an object whose forward runs only after another method, such as `setup`; None where none helps."""
    name, given = name_in_use(obj, "layer"), ", ".join(_shown(inputs))
    found = []
    for method in own_functions(obj):
        for words in _sizes(inputs) if _PREPARES.fullmatch(method) else ():
            try:
                layer = copy.deepcopy(obj)
                with preserved_randomness():
                    getattr(layer, method)(*[value for _, value in words])
                    getattr(layer, forward)(*copy.deepcopy(list(inputs)), **options)
            except Exception:
                continue
            call = f"{name}.{method}({', '.join(word for word, _ in words)})"
            found.append(Reading(f"{call}, then {name}.{forward}({given})", f"{call}\ngl.check({name}, {given})"))
            break
    return refusal(problem, found) if found else None


def unconstructed(
    problem: str, kind: type, needed: Sequence[str], inputs: Sequence[Any], forward: str
) -> InvalidArgument | None:
    """The refusal of a class instead of an object, with sizes that its forward runs with; None where there are none."""
    if any(looks_like_parameter(word) for word in needed):
        return None  # these are arrays, and no sizes
    found, given = [], ", ".join(_shown(inputs))
    last = next((int(v.shape[-1]) for v in inputs if getattr(v, "ndim", 0)), 1)
    sizes = [sorted({last, 2, 3}, key=lambda size, word=word: (size != last) == ("in" in word.lower())) for word in needed]  # type: ignore[misc]
    for values in itertools.islice(itertools.product(*sizes), 27):
        try:
            with preserved_randomness():
                kind_called: Any = kind(*values)
                getattr(kind_called, forward)(*copy.deepcopy(list(inputs)))
        except Exception:
            continue
        call = f"{kind.__name__}({', '.join(map(str, values))})"
        keywords = f"{kind.__name__}({', '.join(f'{word}={value}' for word, value in zip(needed, values, strict=True))})"
        found.append(Reading(f"{keywords}.{forward}({given})", f"gl.check({call}, {given})"))
    return refusal(problem, found) if found else None


def _sizes(inputs: Sequence[Any]) -> list[list[tuple[str, Any]]]:
    """Arguments for a method that prepares a layer: none, a shape of the first input, its last size, the input."""
    array = next((v for v in inputs if getattr(v, "ndim", 0)), None)
    if array is None:
        return [[]]
    name = _shown(inputs)[next(k for k, v in enumerate(inputs) if v is array)]
    return [[], [(f"{name}.shape[-1]", array.shape[-1])], [(f"{name}.shape", array.shape)],
            [(f"{name}.shape[1:]", array.shape[1:])], [(name, array)]]  # fmt: skip


def _shown(inputs: Sequence[Any]) -> list[str]:
    return input_names_in_use(inputs, [f"x{k}" if len(inputs) > 1 else "x" for k in range(len(inputs))])


def _readings(
    obj: Any, inputs: Sequence[Any], options: Mapping[str, Any], methods: Methods | None, shown: str,
    lost: Sequence[str],
) -> list[Reading]:  # fmt: skip
    found: list[tuple[Evidence, int, Reading]] = []
    for forward in [methods.forward] if methods else _forwards(obj, len(inputs)):
        called = CalledObject(obj, inputs, _names(obj, forward, len(inputs)), options)
        for plan in itertools.islice(_plans(called, forward, methods), READINGS_TRIED.value):
            tried = called.tried(plan)
            if tried is not None and tried[0].fits and set(lost) <= tried[1].parameters.keys():
                found.append((tried[0], -len(found), _reading(called, plan, tried[1], shown)))
    return [reading for _, _, reading in sorted(found, key=lambda each: each[:2], reverse=True)]


def _names(obj: Any, method: str, count: int) -> tuple[str, ...]:
    names = input_names(getattr(obj, method), count)
    return names if all(name.isidentifier() for name in names) else tuple(f"x{k}" for k in range(count))


def _forwards(obj: Any, count: int) -> list[str]:
    names = [name for name in own_functions(obj) if not name.startswith("_") or name == "__call__"]
    usual = [name for name in FUNCTIONS if name in names]
    fitting = [name for name in names if name not in (*usual, *BACKWARDS) and len(_required(obj, name)) == count]
    return [*usual, *fitting][:8]


def _required(obj: Any, method: str) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(getattr(obj, method)).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [p for p in positional if p.default is p.empty]


def _plans(called: CalledObject, forward: str, methods: Methods | None) -> Iterator[LayerCall]:
    layer = copy.deepcopy(called.obj)
    try:
        result = getattr(layer, forward)(*copy.deepcopy(list(called.inputs)), **called.options)
    except Exception:
        return
    picks: list[int | None] = [None]
    if isinstance(result, (tuple, list)):
        picks = [k for k in reversed(range(len(result))) if is_array(result[k])]
    own = own_functions(called.obj)
    others = [name for name in own if not name.startswith("__") and name not in reached_from(own, forward)]
    usual = [name for name in others if name in BACKWARDS or name in hand_written_methods(called.obj)]
    backwards = [methods.backward] if methods else [*usual, *(name for name in others if name not in usual)]
    for backward in backwards:
        choices = [_choices(parameter, called, attributes(layer)) for parameter in _required(called.obj, backward)]
        for pick in picks:
            for words in itertools.product(*choices):
                if words.count("grad_output") < 2:
                    yield LayerCall(forward, pick, backward, words)


def _choices(parameter: inspect.Parameter, called: CalledObject, held: Mapping[str, Any]) -> list[str]:
    name = parameter.name
    if name.lower() in RATES:
        return ["1.0"]
    if is_upstream_name(name):
        return ["grad_output"]
    if name in held:
        return [f"layer.{name}"]
    if name in called.names:
        return [name]
    if parameter.annotation in (float, int, "float", "int"):
        return ["0.0", "1.0"]
    kept = [f"layer.{word}" for word, value in held.items() if word not in attributes(called.obj) or is_array(value)]
    return ["grad_output", *called.names, *kept, "None", "0.0", "1.0"]


def _reading(called: CalledObject, plan: LayerCall, places: Places, obj: str) -> Reading:
    given = ", ".join(_shown(called.inputs))
    words = [word.replace("layer.", f"{obj}.", 1) if word.startswith("layer.") else word for word in plan.words]
    picked = "" if plan.pick is None else f"[{plan.pick}]"
    places_of = [*((called.names[i], p) for i, p in places.inputs.items()), *places.parameters.items()]
    where = ", ".join(f"of {name} {_where(place, obj)}" for name, place in places_of)
    run, pull = (obj if method == "__call__" else f"{obj}.{method}" for method in (plan.forward, plan.backward))
    text = f"output = {run}({', '.join(called.names)}){picked}, then {pull}({', '.join(words)}): gradient {where}"
    shown = ", ".join(called.names)
    if plan.pick is not None:
        forward = f"lambda layer, {shown}: layer.{plan.forward}({shown})[{plan.pick}]"
    else:
        forward = repr(plan.forward)
    code, backward, stored = _backward(called, plan, places)
    pairs = ", ".join(f"{path!r}: {stored.get(path, str(place))!r}" for path, place in places.parameters.items())
    parameters = f", parameters={{{pairs}}}" if pairs else ""
    wrapper = f"gl.check(gl.Layer({obj}, forward={forward}, backward={backward}{parameters}), {given})"
    return Reading(text, f"{code}{wrapper}")


def _where(place: Place, obj: str) -> str:
    return "is returned" if isinstance(place, int) else f"in {obj}.{place}"


def _backward(called: CalledObject, plan: LayerCall, places: Places) -> tuple[str, str, dict[str, str]]:
    """A function that calls the backward where its name is not enough, what names it, and where it stores what is returned."""
    count = len(called.inputs)
    direct = list(places.inputs.items()) == [(i, i) for i in places.inputs] and not any(
        isinstance(p, int) for p in places.parameters.values())  # fmt: skip
    if plan.words == ("grad_output",) and direct and places.returned in (0, len(places.inputs), count):
        return "", repr(plan.backward), {}
    heads = ["layer", "grad_output"] if "grad_output" in plan.words else ["layer"]
    heads += [word for word in dict.fromkeys(plan.words) if word in called.names]
    call = f"layer.{plan.backward}({', '.join(plan.words)})"
    stored = {path: f"returned_{path.translate(_PLAIN)}" for path, p in places.parameters.items() if isinstance(p, int)}
    targets = [f"entry_{k}" for k in range(places.returned)]
    for path, place in places.parameters.items():
        if isinstance(place, int):
            targets[place] = f"layer.{stored[path]}"
    taken = f"{', '.join(targets)}{',' if len(targets) == 1 and not places.alone else ''} = " if targets else ""
    of_inputs = [places.inputs.get(i) for i in range(count)]
    results = ["None" if p is None else f"entry_{p}" if isinstance(p, int) else f"layer.{p}" for p in of_inputs]
    lines = [f"def backward({', '.join(heads)}):", f"    {taken}{call}", f"    return {', '.join(results)}"]
    return "\n".join(lines) + "\n", "backward", stored


_PLAIN = str.maketrans({c: "_" for c in ".[]'\" "})
