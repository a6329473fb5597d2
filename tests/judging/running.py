"""Run a candidate of a task in this process, by its form alone: a second opinion that knows nothing of `judge`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradcheck_lab.specs import Spec

TASKS = Path(__file__).parent / "tasks"
# of the letters of the specs, in their order
SIZES = (
    (2, 2, 2, 2, 2), (3, 5, 2, 7, 4), (17, 3, 5, 2, 3), (5, 17, 3, 3, 6), (5, 4, 1, 2, 3), (1, 3, 4, 1, 2), (3, 1, 17, 4, 1)
)  # fmt: skip
Results = tuple[list[Tensor], list[Tensor | None]]


def loaded(task: str, name: str) -> ModuleType:
    """The module of a task (`name` is "task") or of one of its candidates."""
    path = TASKS / task / f"{name}.py"
    spec = spec_from_file_location(f"judged.{task}.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def calls(specs: tuple[Spec, ...], dtype: torch.dtype, seed: int) -> Iterator[list[Tensor]]:
    """Inputs of several sizes, among them one with equal sizes and one with a single row."""
    generator = torch.Generator().manual_seed(seed)
    letters = {dim.name for spec in specs for dim in spec.dims if dim.size is None}
    letters |= {spec.classes for spec in specs if spec.classes is not None}
    for sizes in SIZES:
        size = dict(zip(sorted(letters), sizes, strict=False))
        yield [_drawn(spec, size, dtype, generator) for spec in specs]


def stressed(inputs: list[Tensor]) -> Iterator[list[Tensor]]:
    """The same inputs rounded, so that some are equal, and a thousand times as large."""
    yield [value.round() if value.is_floating_point() else value for value in inputs]
    yield [value * 1000 if value.is_floating_point() else value for value in inputs]


def _drawn(spec: Spec, size: dict[str, int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    shape = [dim.size or dim.times * size[dim.name] for dim in spec.dims]
    if spec.classes is not None:
        return torch.randint(size[spec.classes], shape, generator=generator)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def truth(task: ModuleType, inputs: list[Tensor], seed: int) -> tuple[Results, list[Tensor]]:
    """Outputs and gradients of the reference in float64, and the upstream gradients that were used, in the inputs' dtype."""
    dtype = next(value.dtype for value in inputs if value.is_floating_point())
    leaves = [value.detach().clone().double().requires_grad_() if value.is_floating_point() else value for value in inputs]
    outputs = _list(task.reference(*leaves, **getattr(task, "options", {})))
    generator = torch.Generator().manual_seed(seed)
    upstream = [torch.randn(value.shape, generator=generator, dtype=torch.float64).to(dtype) for value in outputs]
    return (outputs, _differentiated(leaves, outputs, [g.double() for g in upstream])), upstream


def answered(module: ModuleType, options: dict[str, Any], inputs: list[Tensor], upstream: list[Tensor]) -> Results:
    """Outputs and gradients of the candidate of a module."""
    candidate = module.candidate
    copies = [value.detach().clone() for value in inputs]
    gradients = [g.clone() for g in upstream]
    if isinstance(candidate, type) and issubclass(candidate, torch.autograd.Function):
        return _through_autograd(lambda *values: candidate.apply(*values, *options.values()), copies, gradients)
    in_numpy = hasattr(module, "np") and not hasattr(module, "torch")
    if isinstance(candidate, tuple) and "cache" not in inspect.signature(candidate[1]).parameters:
        copies, gradients = ([value.numpy() for value in values] if in_numpy else values for values in (copies, gradients))
        return _by_pair(*candidate, options, copies, gradients)
    if isinstance(candidate, tuple) or hasattr(candidate, "backward"):
        given = [value.numpy() for value in copies] if in_numpy else copies
        grad_output = gradients[0].numpy() if in_numpy else gradients[0]
        with np.errstate(all="ignore"):
            return _by_layer(candidate, options, given, grad_output)
    function = candidate() if isinstance(candidate, type) else candidate
    return _through_autograd(lambda *values: function(*values, **options), copies, gradients)


def _through_autograd(function: Callable[..., Any], inputs: list[Tensor], upstream: list[Tensor]) -> Results:
    leaves = [value.requires_grad_() if value.is_floating_point() else value for value in inputs]
    outputs = _list(function(*leaves))
    return outputs, _differentiated(leaves, outputs, upstream)


def _differentiated(leaves: list[Tensor], outputs: list[Tensor], upstream: list[Tensor]) -> list[Tensor | None]:
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, upstream, allow_unused=True))
    return [next(found) if leaf.requires_grad else None for leaf in leaves]


def _by_pair(
    forward: Callable[..., Any], backward: Callable[..., Any], options: dict[str, Any], inputs: list[Any], upstream: list[Any]
) -> Results:
    output = forward(*inputs, **options)
    grad_output = tuple(upstream) if isinstance(output, tuple) else upstream[0]
    return _list(output), _list(backward(grad_output, output, *inputs, **options))


def _by_layer(candidate: Any, options: dict[str, Any], inputs: list[Any], grad_output: Any) -> Results:
    if isinstance(candidate, tuple):
        output, cache = candidate[0](*inputs, **options)
        return _list(output), _list(candidate[1](grad_output, cache))
    output = candidate.forward(*inputs, **options)
    return _list(output), _list(candidate.backward(grad_output))


def _list(value: Any) -> list[Any]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return [None if each is None else each if isinstance(each, Tensor) else torch.as_tensor(each) for each in values]


def apart(found: Results, true: Results) -> float:
    """The largest difference of outputs and gradients, relative to true values above 1; infinite for another structure."""
    pairs = list(zip(found[0] + found[1], true[0] + true[1], strict=False))
    if len(found[0]) != len(true[0]) or len(found[1]) != len(true[1]):
        return float("inf")
    return max((_apart(mine, wanted) for mine, wanted in pairs), default=float("inf"))


def _apart(mine: Tensor | None, wanted: Tensor | None) -> float:
    if mine is None or wanted is None:
        return 0.0 if wanted is None else float("inf")
    if mine.shape != wanted.shape or not torch.isfinite(mine).all():
        return float("inf")
    if not wanted.numel():
        return 0.0
    return float(((mine.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1)).detach())
