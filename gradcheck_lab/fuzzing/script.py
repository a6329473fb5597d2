"""A drawn call as a few lines of Python that run with torch alone, beside the user's own code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.rules.op import Op

_LITERAL = 64
_BASES = {
    "positive": "{x} = {x}.abs() + 0.25",
    "nonzero": "{x} = {x} + torch.where({x} < 0, -0.25, 0.25)",
    "probabilities": "{x} = torch.softmax({x}, -1)",
    "one_hot": "{x} = ({x} == {x}.amax(-1, keepdim=True)).double()",
    "mask": "{x} = {x} > 0",
}
_VALUES = {
    "zeros": "{x}.masked_fill(torch.rand({x}.shape, generator=generator) < 0.5, 0.0)",
    "equal": "torch.full_like({x}, 0.7123)",
    "ties": "{x}.round().add(0.0123)",
    "whole": "{x}.round()",
    "large": "{x}.mul(min(1e4, torch.finfo({x}.dtype).max ** 0.25))",
    "tiny": "{x}.mul(max(1e-8, torch.finfo({x}.dtype).tiny ** 0.5))",
}
_WITHIN = {"positive": "shaped > 0", "nonzero": "shaped != 0"}
_LAYOUTS = {
    "transposed": ["axes = tuple(reversed(range({x}.ndim)))", "{x} = {x}.permute(axes).contiguous().permute(axes)"],
    "sliced": [
        "room = {x}.new_zeros([2 * size + 1 for size in {x}.shape])",
        "{x} = room[tuple(slice(1, None, 2) for _ in {x}.shape)].copy_({x})",
    ],
    "offset": ["{x} = {x}.new_zeros({x}.numel() + 1)[1:].view({x}.shape).copy_({x})"],
    "expanded": ["{x} = {x}[:1].expand({x}.shape)"],
}


def tensor_lines(name: str, tensor: TensorRecipe) -> list[str]:
    """Lines that make the tensor `name`: from its values when they are few, else from its seed."""
    layout = [] if tensor.layout == "expanded" and not _expands(tensor) else _LAYOUTS.get(tensor.layout, [])
    return [*_value_lines(name, tensor), *(line.format(x=name) for line in layout)]


def call_lines(op: Any, call: CallRecipe, names: Sequence[str], target: str | None, wrong: str | None) -> list[str]:
    """Lines that run forward and backward of the call and print a gradient beside autograd's, that of the input `wrong`."""
    name = target.partition(":")[2] if target else getattr(op, "name", None) or getattr(op, "__name__", "op")
    module = [f"from {target.partition(':')[0]} import {name}"] if target else []
    lines = ["import torch", *module]
    for each, tensor in zip(names, call.tensors, strict=True):
        lines += tensor_lines(each, tensor)
    floating = [each for each, tensor in zip(names, call.tensors, strict=True) if tensor.dtype.is_floating_point]
    options = "".join(f", {key}={value!r}" for key, value in call.options.items())
    arguments = ", ".join(names)
    if not isinstance(op, Op) or op.rule is None:
        keywords = f", options={dict(call.options)!r}" if call.options else ""
        return [
            *lines,
            "import gradcheck_lab as gl",
            f"print(gl.check({name}, {arguments}{keywords}, probes=(), seed={call.seed}))",
        ]
    upstream = _upstream_line(op, call)
    if upstream is None:
        return [*lines, f"{name}.forward({arguments}{options})"]
    which = names.index(wrong) if wrong in names else None
    shown = "" if which is None or wrong not in floating else f"[{which}]"
    lines += [
        f"output = {name}.forward({arguments}{options})",
        upstream,
        f"actual = {name}.backward(grad_output, output, {arguments}{options})",
        *(f"{each}.requires_grad_()" for each in floating if _is_leaf(call, names, each)),
    ]
    rebuilt = [each for each in floating if not _is_leaf(call, names, each)]
    lines += [f"{each} = {each}.detach().requires_grad_()" for each in rebuilt]
    wanted = floating if not shown else [str(wrong)]
    lines += [
        f"expected = torch.autograd.grad({name}.forward({arguments}{options}), [{', '.join(wanted)}], grad_output)",
        f"print(actual{shown}, expected{'[0]' if shown else ''})",
    ]
    return lines


def _is_leaf(call: CallRecipe, names: Sequence[str], name: str) -> bool:
    return call.tensors[list(names).index(name)].layout == "contiguous"


def _expands(tensor: TensorRecipe) -> bool:
    return bool(tensor.shape and tensor.shape[0]) and not (
        tensor.kind in ("probabilities", "one_hot") and len(tensor.shape) < 2
    )


def _value_lines(name: str, tensor: TensorRecipe) -> list[str]:
    shape, dtype = list(tensor.shape), str(tensor.dtype)
    if tensor.values is not None or math.prod(shape) <= _LITERAL:
        return [f"{name} = {_literal(tensor.as_written().build())}"]
    lines = [f"generator = torch.Generator().manual_seed({tensor.seed})"]
    lines.append(f"{name} = torch.randn({shape}, generator=generator, dtype=torch.float64)")
    if tensor.kind in ("labels", "integers"):
        lines.append(f"{name} = torch.randint({tensor.low}, {tensor.high}, {shape}, generator=generator)")
    if tensor.kind in _BASES:
        lines.append(_BASES[tensor.kind].format(x=name))
    if tensor.dtype not in (torch.float64, torch.int64, torch.bool):
        lines.append(f"{name} = {name}.to({dtype})")
    if tensor.kind in ("real", "positive", "nonzero") and tensor.profile in _VALUES:
        shaped = _VALUES[tensor.profile].format(x=name)
        within = _WITHIN.get(tensor.kind)
        lines += [f"shaped = {shaped}", f"{name} = shaped.where({within}, {name})"] if within else [f"{name} = {shaped}"]
    elif tensor.profile in ("ties", "equal") and tensor.kind == "probabilities":
        lines.append(f"{name} = torch.full_like({name}, 1 / {shape[-1]})")
    elif tensor.profile in ("ties", "equal") and tensor.kind != "one_hot":
        lines.append(f"{name} = torch.full_like({name}, {name}.reshape(-1)[0].item())")
    return lines


def _upstream_line(op: Op, call: CallRecipe) -> str | None:
    """The upstream gradient that the check drew, written out; None where the forward raises or has several outputs."""
    case = call.build()
    try:
        with torch.no_grad():
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
