"""Run the forward bodies of hand-written autograd Functions as plain torch code, so that autograd differentiates them.

`FunctionBase.apply` is patched, because a bound `swish = Swish.apply` calls it too. Other threads and torch's own Functions
are not affected.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.rules.op import _HandWritten
from gradcheck_lab.subjects.forward_context import ForwardContext
from gradcheck_lab.subjects.untraceable import Untraceable
from gradcheck_lab.torch_internals import (
    CUSTOM_OP_NODE,
    FunctionBase,
    custom_ops,
    kernel_of,
    registered_backward,
    replace_checkpointing,
)

CodePart = Literal["around", "body", "context"]

_lock = threading.Lock()


@dataclass
class Bodies:
    """Which Functions ran as forward bodies: how many calls, and by name whether an input of a call required grad.

    `backwards` are the hand-written backwards that belong to them.
    """

    replaced: int = 0
    reached: dict[str, bool] = field(default_factory=dict)
    backwards: dict[Any, None] = field(default_factory=dict)

    @property
    def cut(self) -> tuple[str, ...]:
        """Functions that ran with gradients enabled and never had an input that requires grad: no gradient reaches them."""
        return tuple(name for name, reached in self.reached.items() if not reached)


_active: ContextVar[Bodies | None] = ContextVar("bodies", default=None)
_running: ContextVar[CodePart] = ContextVar("running_code", default="around")
_depth = 0


@contextmanager
def forward_bodies() -> Iterator[Bodies]:
    """Within the block, every user-defined `torch.autograd.Function` runs as its forward body under autograd.

    So do custom ops of `torch.library`. A call raises `Untraceable` where the outputs of a body do not depend on its inputs
    for autograd, because it detaches them or leaves torch.

    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return 2 * x
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         return 3 * grad_output
    >>> x = torch.ones(1, requires_grad=True)
    >>> with forward_bodies() as bodies:
    ...     y = Double.apply(x)
    >>> torch.autograd.grad(y, x)[0].item(), bodies.replaced
    (2.0, 1)
    """
    bodies = Bodies()
    token = _active.set(bodies)
    _install()
    try:
        yield bodies
    finally:
        _uninstall()
        _active.reset(token)


def _install() -> None:
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            FunctionBase.apply = classmethod(_apply)  # type: ignore[attr-defined]
            replace_checkpointing(_uncheckpointed)


def running_code() -> CodePart:
    """Which code is running: the forward "body" of a hand-written Function, its "context" setup, or the code "around" it."""
    return _running.get()


def _uninstall() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            del FunctionBase.apply  # type: ignore[attr-defined]
            replace_checkpointing(None)


def _uncheckpointed(checkpointed: Callable[..., Iterator[None]]) -> Callable[..., Iterator[None]]:
    def run(*args: Any, **kwargs: Any) -> Iterator[None]:
        # checkpointing would run its function again in the backward, after this block has ended
        if _active.get() is None:
            yield from checkpointed(*args, **kwargs)
        else:
            yield

    return run


def _apply(cls: Any, *args: Any, **keywords: Any) -> Any:
    bodies = _active.get()
    body = None if bodies is None else _body_of(cls)
    if bodies is None or body is None:
        return super(FunctionBase, cls).apply(*args, **keywords)
    args, keywords = _placed(cls, args, keywords)
    bodies.replaced += 1
    bodies.backwards[_backward_of(cls, args)] = None
    if torch.is_grad_enabled():
        tracked = any(isinstance(value, torch.Tensor) and value.requires_grad for value in args)
        name = args[0].name if cls is _HandWritten else cls.__name__.removeprefix(CUSTOM_OP_NODE)
        bodies.reached[name] = bodies.reached.get(name, False) or tracked
    token = _running.set("body")
    try:
        output = body(*args, **keywords)
    finally:
        _running.reset(token)
    if torch.is_grad_enabled() and _loses_track(args, output):
        raise Untraceable(f"the forward of {cls.__name__} leaves autograd: it detaches its inputs, or leaves torch")
    return output


def _placed(cls: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `apply`, those given by keyword in their places, as torch places them in versions that take any."""
    if not keywords:
        return args, keywords
    with_context = cls.setup_context is FunctionBase.setup_context
    bound = inspect.signature(cls.forward).bind(*((None, *args) if with_context else args), **keywords)
    return bound.args[with_context:], bound.kwargs


def _body_of(cls: Any) -> Callable[..., Any] | None:
    if cls is _HandWritten:
        return lambda op, options, *inputs: op.forward(*inputs, **options)
    if cls.__name__.startswith(CUSTOM_OP_NODE):
        return _custom_op_body(cls.__name__.removeprefix(CUSTOM_OP_NODE))
    if not issubclass(cls, torch.autograd.Function) or cls.__module__.partition(".")[0] == "torch":
        return None
    return partial(_run_body, cls)


def _backward_of(cls: Any, args: tuple[Any, ...]) -> Any:
    if cls is _HandWritten:
        return args[0].rule
    definition = _custom_op(cls.__name__.removeprefix(CUSTOM_OP_NODE)) if cls.__name__.startswith(CUSTOM_OP_NODE) else None
    return rule_of(cls) if definition is None else registered_backward(definition)


def rule_of(function: Any) -> Any:
    """The hand-written `vjp` or `backward` of a Function; None where its class has neither."""
    rules = ((getattr(function, name), getattr(torch.autograd.Function, name)) for name in ("vjp", "backward"))
    return next((rule for rule, base in rules if rule is not base), None)


def _run_body(cls: Any, *args: Any, **keywords: Any) -> Any:
    ctx = ForwardContext(tuple(isinstance(value, torch.Tensor) and value.requires_grad for value in args))
    if cls.setup_context is FunctionBase.setup_context:
        output = cls.forward(ctx, *args, **keywords)
    else:
        output = cls.forward(*args, **keywords)
        token = _running.set("context")
        try:
            with torch.no_grad():
                cls.setup_context(ctx, args, output)
        finally:
            _running.reset(token)
    finished = ctx.finish(output if isinstance(output, tuple) else (output,))
    return finished if isinstance(output, tuple) else finished[0]


def _custom_op_body(name: str) -> Callable[..., Any] | None:
    """The Python kernel of a custom op, called as its generated Function is: the last argument holds the keywords."""
    definition = _custom_op(name)
    if definition is None:
        return None
    return lambda *args: _kernel(definition, args)(*args[:-1], **args[-1].keyword_only_args)


def _custom_op(name: str) -> Any:
    found = ((f"{qualified.replace('::', '_')}_default", definition) for qualified, definition in custom_ops().items())
    return next((definition for called, definition in found if called == name), None)


def _kernel(definition: Any, args: tuple[Any, ...]) -> Callable[..., Any]:
    device = next((value.device.type for value in args if isinstance(value, torch.Tensor)), None)
    return kernel_of(definition, device)


def _loses_track(args: tuple[Any, ...], output: Any) -> bool:
    """Whether no output depends on an input that autograd tracks, although one is differentiable."""
    given = [v for v in args if isinstance(v, torch.Tensor) and v.requires_grad]
    outputs = [v for v in (output if isinstance(output, (tuple, list)) else (output,)) if is_differentiable(v)]
    return bool(given) and bool(outputs) and not any(v.requires_grad for v in outputs)
