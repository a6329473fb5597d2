"""A drawn call as a few lines of Python that run with torch alone, beside the user's own code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.kinds import KINDS, LEVEL, PROFILES, WRITTEN, between, ordinary
from gradcheck_lab.calls.layouts import contiguous, layout_function
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.fuzzing.source import assigned, returned
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.line import merged, where_absent
from gradcheck_lab.reproduction.writer import Writer
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.contained import UsersCode

_LITERAL = 64


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: the gradient that it concerns, the probe that found it, none for the comparison, and how kernels ran."""

    gradient: str | None = None
    probes: tuple[str, ...] = ()
    interpreted: bool = False


def tensor_lines(name: str, tensor: TensorRecipe) -> list[str]:
    """Lines that make the tensor `name`: from its values when they are few, else from its seed."""
    place = layout_function(tensor.kind, tensor.layout, tensor.shape)
    layout = [] if place is contiguous else assigned(place, name, value=name)
    return [*_value_lines(name, tensor), *layout]


def call_lines(op: Any, call: CallRecipe, names: Sequence[str], target: str | None, found: Found) -> list[str]:
    """Lines that show a failure: forward and backward beside autograd where an op is compared, and `gl.check` for the rest."""
    name, subject = _subject_lines(op, target)
    interpreting = ["import os", "os.environ['TRITON_INTERPRET'] = '1'"] if found.interpreted else []
    lines = [*interpreting, "import torch", *subject]
    for each, tensor in zip(names, call.tensors, strict=True):
        lines += tensor_lines(each, tensor)
    floating = [each for each, tensor in zip(names, call.tensors, strict=True) if tensor.dtype.is_floating_point]
    options = "".join(f", {key}={value!r}" for key, value in call.options.items())
    arguments = ", ".join(names)
    if not isinstance(op, Op) or op.rule is None or found.probes:
        keywords = f", options={dict(call.options)!r}" if call.options else ""
        own = "import gradcheck_lab as gl"
        check = f"print(gl.check({name}, {arguments}{keywords}, probes={found.probes!r}, seed={call.seed}))"
        return [*lines, *([] if own in lines else [own]), check]
    upstream = _upstream_line(op, call)
    if upstream is None:
        return [*lines, f"{name}.forward({arguments}{options})"]
    which = names.index(found.gradient) if found.gradient in names else None
    shown = "" if which is None or found.gradient not in floating else f"[{which}]"
    lines += [
        f"output = {name}.forward({arguments}{options})",
        upstream,
        f"actual = {name}.backward(grad_output, output, {arguments}{options})",
        *(f"{each}.requires_grad_()" for each in floating if _is_leaf(call, names, each)),
    ]
    rebuilt = [each for each in floating if not _is_leaf(call, names, each)]
    lines += [f"{each} = {each}.detach().requires_grad_()" for each in rebuilt]
    wanted = floating if not shown else [str(found.gradient)]
    lines += [
        f"expected = torch.autograd.grad({name}.forward({arguments}{options}), [{', '.join(wanted)}], grad_output)",
        f"print(actual{shown}, expected{'[0]' if shown else ''})",
    ]
    return lines


def _subject_lines(op: Any, target: str | None) -> tuple[str, list[str]]:
    """The name of the op in the printed lines, and the lines that it is from; a comment where nothing imports it."""
    module, _, name = (target or "").partition(":")
    if module and not module.endswith(".py"):  # a file is imported as what it is found by, which the writer knows
        return name, [f"from {module} import {name}"]
    found = caller()
    writer = Writer(found.scopes)
    text = writer.text(op, "op")
    lines = [line for line in merged(writer.before) if line != "import torch"]
    lines += [f"# {where_absent(writer.absent, found.place)}"] if writer.absent else []
    return (text, lines) if text.isidentifier() else ("op", [*lines, f"op = {text}"])


def _is_leaf(call: CallRecipe, names: Sequence[str], name: str) -> bool:
    return call.tensors[list(names).index(name)].layout == "contiguous"


def _value_lines(name: str, tensor: TensorRecipe) -> list[str]:
    shape, dtype = list(tensor.shape), str(tensor.dtype)
    if tensor.values is not None or math.prod(shape) <= _LITERAL:
        return [f"{name} = {_literal(tensor.with_written_values().build())}"]
    lines = [f"generator = torch.Generator().manual_seed({tensor.seed})"]
    lines.append(f"{name} = torch.randn({shape}, generator=generator, dtype=torch.float64)")
    make = KINDS[tensor.kind].make
    if make is None:
        bounds = {"low": str(tensor.low), "high": str(tensor.high)}
        lines += assigned(between, name, value=name, generator="generator", **bounds)
    else:
        lines += assigned(make, name, value=name)
    if tensor.dtype not in (torch.float64, KINDS[tensor.kind].dtype):
        lines.append(f"{name} = {name}.to({dtype})")
    return [*lines, *_profile_lines(name, tensor)]


def _profile_lines(name: str, tensor: TensorRecipe) -> list[str]:
    kind = KINDS[tensor.kind]
    if tensor.profile == WRITTEN:
        return []
    if not kind.elementwise:
        return assigned(kind.level, name, value=name) if kind.level is not None and tensor.profile in LEVEL else []
    profile = PROFILES[tensor.profile]
    if kind.contains is None or profile is ordinary:
        return assigned(profile, name, value=name, generator="generator")
    within = returned(kind.contains, value="shaped")
    shaped = assigned(profile, "shaped", value=name, generator="generator")
    return [*shaped, f"{name} = shaped.where({within}, {name})"]


def _upstream_line(op: Op, call: CallRecipe) -> str | None:
    """The upstream gradient that the check drew, written out; None where the forward raises or has several outputs."""
    case = call.build()
    try:
        with torch.no_grad(), UsersCode():
            output = op.forward(*case.inputs, **case.options)
    except Exception:  # the call is shown as it is
        return None
    if not isinstance(output, torch.Tensor):
        return None
    drawn = random_like(output, torch.Generator().manual_seed(case.seed))
    if drawn.numel() > _LITERAL:
        return "grad_output = torch.randn_like(output)"
    return f"grad_output = {_literal(drawn)}"


def _literal(value: torch.Tensor) -> str:
    if not value.numel():
        return f"torch.zeros({list(value.shape)}, dtype={value.dtype})"
    dtype = "" if value.dtype in (torch.int64, torch.bool) else f", dtype={value.dtype}"
    return f"torch.tensor({value.tolist()!r}{dtype})"
