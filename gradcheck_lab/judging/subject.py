"""What `check` is handed: an `autograd.Function`, a pair of functions or a layer whose calls are made in the other process."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.judging.remote import Remote
from gradcheck_lab.judging.task import Task
from gradcheck_lab.rules.op import as_tuple


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate as `check` takes it: the object, the options to pass, and the reference for those."""

    op: Any
    options: Mapping[str, Any]
    reference: Callable[..., Any]


def judged(remote: Remote, task: Task, options: Mapping[str, Any]) -> Judged:
    """The candidate with options of the task."""
    if remote.form == "pair":
        return Judged((remote.function(0), remote.function(1)), options, task.within_specs)
    if remote.form == "layer":
        members = {"forward": staticmethod(remote.function(0)), "backward": staticmethod(remote.function(1))}
        return Judged(type(remote.name, (), members)(), options, task.within_specs)

    def reference(*inputs: Any) -> Any:
        return task.within_specs(*inputs, **options)

    return Judged(_function(remote, task.names, options), {}, reference)


def _function(remote: Remote, names: tuple[str, ...], options: Mapping[str, Any]) -> Any:
    """An `autograd.Function` whose forward and backward are those of the other process, through its engine."""

    def run(ctx: Any, *inputs: Any) -> Any:
        needed = zip(inputs, ctx.needs_input_grad, strict=True)
        needs = [bool(need) for value, need in needed if isinstance(value, torch.Tensor)]
        result, answer = remote.call(inputs, options, needs)
        ctx.set_materialize_grads(False)
        ctx.answer, ctx.needs = answer, needs
        floating = [value for value in as_tuple(result) if isinstance(value, torch.Tensor)]
        if any(needs) and len(answer.needing) == len(floating):
            ctx.mark_non_differentiable(*(v for v, need in zip(floating, answer.needing, strict=True) if not need))
        return tuple(result) if isinstance(result, list) else result

    @torch.autograd.function.once_differentiable
    def turn(ctx: Any, *upstream: Any) -> Any:
        found = iter(remote.gradients(ctx.answer, upstream, ctx.needs))
        return tuple(next(found) for _ in names)

    space: dict[str, Any] = {"run": run, "turn": turn}
    given = ", ".join(names)
    exec(f"def forward(ctx, {given}): return run(ctx, {given})", space)
    exec("def backward(ctx, *upstream): return turn(ctx, *upstream)", space)
    members = {"forward": staticmethod(space["forward"]), "backward": staticmethod(space["backward"])}
    return type(remote.name, (torch.autograd.Function,), members)


def computes_in_arrays(text: str) -> bool:
    """Whether a file imports NumPy and not torch, as its text says."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    names = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return "numpy" in names and "torch" not in names
