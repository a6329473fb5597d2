"""`Op`: a forward and its hand-written backward, and the `@op` decorator that makes a rule read like a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import CodeType
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import torch

from gradcheck_lab import specs as specs_module
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import Wrt, wrt_of
from gradcheck_lab.model.shown import cut
from gradcheck_lab.rules.naming import input_names, option_names, takes_any_number
from gradcheck_lab.specs import DTYPES, Spec

Function = TypeVar("Function", bound=Callable[..., Any])


_ALIVE: WeakSet[Op] = WeakSet()


def ops_alive() -> list[Op]:
    """Every op that somebody still holds."""
    return list(_ALIVE)


class Recorder(Protocol):
    """Runs op calls instead of the op itself, such as the autograd side of a program."""

    def apply(self, op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any: ...


active_recorder: ContextVar[Recorder | None] = ContextVar("active_recorder", default=None)


class Op:
    """A forward and its hand-written backward.

    `forward(*inputs, **options)` returns a tensor or a tuple of tensors. `backward(grad_output, output, *inputs, **options)`
    returns one gradient per input, each of its input's shape and dtype, None where not differentiable; with several
    outputs `grad_output` and `output` are tuples. Called with tensors an op runs its forward; called with a `Variable`
    it records itself. `specs` says what the inputs are, `choices` which values of its options to try, by name, `wrt` which
    inputs have a gradient, by name or position: the others are data, and their entry is not compared.

    Raises `InvalidArgument` when forward or backward is not callable, or a call does not fit the specs.

    >>> import torch
    >>> double = Op(lambda x: 2 * x, lambda grad_output, output, x: (2 * grad_output,), name="double")
    >>> double(torch.ones(2))
    tensor([2., 2.])
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        specs: Sequence[Spec] = (),
        choices: Mapping[str, Sequence[Any]] | None = None,
        wrt: Wrt | None = None,
    ) -> None:
        for role, function in (("forward", forward), ("backward", backward)):
            if function is not None and not callable(function):
                raise InvalidArgument(
                    f"the {role} of an Op is a function and a {type(function).__name__} was given; "
                    f"pass gl.Op(forward, backward)"
                )
        if forward is None:
            raise InvalidArgument("an Op needs a forward; pass gl.Op(forward, backward)")
        self.name = cut(str(name or getattr(forward, "__name__", type(forward).__name__)))
        self._forward = forward
        self.rule = backward
        self.signatures: tuple[tuple[Spec, ...], ...] = (tuple(specs),) if specs else ()
        self.wrt = wrt_of(wrt)
        self.admitted: tuple[tuple[Spec, ...], ...] = ()
        self.choices: dict[str, tuple[Any, ...]] = {name: tuple(values) for name, values in (choices or {}).items()}
        self._validators: list[Callable[..., None]] = []
        self.__doc__ = getattr(forward, "__doc__", None) or self.__doc__
        self.__module__ = getattr(forward, "__module__", __name__)
        _ALIVE.add(self)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def forward(self) -> Callable[..., Any]:
        """The function that the op computes: calling it runs no backward, in a program or anywhere else."""
        return self._forward

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The first signature of the op: one spec per input; empty when none was declared."""
        return self.signatures[0] if self.signatures else ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two ops have in common that one line of code makes: each run of a program may make its ops anew."""
        return self.name, getattr(self.forward, "__code__", self.forward), getattr(self.rule, "__code__", self.rule)

    @property
    def formula(self) -> str:
        """The first line of the backward's docstring."""
        text = (getattr(self.rule, "__doc__", None) or "").strip()
        return text.splitlines()[0] if text else ""

    def accepts(self, *specs: Spec) -> Callable[[Function], Function]:
        """Declare another signature (soft targets beside class indices), whose calls are accepted and drawn; a decorator."""
        self.signatures += (specs,)
        return lambda function: function

    def admits(self, *specs: Spec) -> Callable[[Function], Function]:
        """Declare a signature whose calls are accepted and never drawn (few random sizes would be valid); a decorator."""
        self.admitted += (specs,)
        return lambda function: function

    def validator(self, function: Function) -> Function:
        """Register a function of the inputs and options that raises `InvalidArgument` for unsupported calls."""
        self._validators.append(function)
        return function

    def backward(self, *arguments: Any, **options: Any) -> Any:
        """Register the hand-written rule (as a decorator), or run it: `op.backward(grad_output, output, *inputs)`."""
        if len(arguments) == 1 and not options and callable(arguments[0]):
            self.rule = arguments[0]
            return arguments[0]
        if self.rule is None:
            raise InvalidArgument(missing_backward(self.name))
        return self.rule(*arguments, **options)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        for value in inputs:
            engine = getattr(type(value), "__apply_op__", None)
            if engine is not None:
                return engine(self, inputs, options)
        recorder = active_recorder.get()
        if recorder is not None:
            return recorder.apply(self, inputs, options)
        self.validate(inputs, options)
        return self.forward(*inputs, **options)

    def names(self, count: int) -> tuple[str, ...]:
        """The names of the first `count` inputs, from the forward's signature, else from the rule's."""
        names = input_names(self.forward, count)
        if self.rule is not None and any(name.startswith("input_") for name in names):
            return input_names(self.rule, count + 2)[2:]
        return names

    def validate(self, inputs: Sequence[Any], options: dict[str, Any]) -> None:
        """Raise `InvalidArgument` for unknown options, and for inputs that fit none of the declared specs."""
        known = option_names(self.forward, len(inputs)) if options else ()
        for option in options:
            if known is not None and option not in known:
                accepted = f"it accepts {', '.join(known)}" if known else "it accepts none"
                raise InvalidArgument(f"{self.name} has no option {option!r}; {accepted}")
        signatures = (*self.signatures, *self.admitted)
        counts = {len(signature) for signature in signatures}
        variadic = len(counts) > 1 and takes_any_number(self.forward)
        if counts and len(inputs) not in counts and not (variadic and inputs):
            raise InvalidArgument(f"{self.name}: it takes {min(counts)} inputs and {len(inputs)} were given")
        for check in self._validators:
            check(*inputs, **options)
        if variadic:  # any number of inputs: only kinds are checked here, the validators check the shapes
            spec = self.specs[-1]
            for value, name in zip(inputs, self.names(len(inputs)), strict=True):
                if (problem := _kind_problem(spec, value, name)) is not None:
                    raise InvalidArgument(f"{self.name}: {problem}")
            return
        problems: list[str] = []
        for signature in (each for each in signatures if len(each) == len(inputs)):
            problem = _signature_problem(signature, inputs, self.names(len(inputs)))
            if problem is None:
                return
            problems.append(problem)
        if problems:
            raise InvalidArgument(f"{self.name}: {problems[0]}")

    @property
    def refuses(self) -> bool:
        """Whether a validator, or the value of an option, may make the op refuse calls that fit the specs."""
        return bool(self._validators or self.choices)

    def takes(self, inputs: Sequence[Any], options: dict[str, Any]) -> bool:
        """Whether `validate` accepts a call."""
        try:
            self.validate(inputs, options)
        except InvalidArgument:
            return False
        return True

    def as_function(self) -> Callable[..., Any]:
        """Return the op as a differentiable function of tensors, its backward the hand-written rule.

        It works wherever torch's own functions do: in an `nn.Module`, under an optimizer, twice in a graph.
        Raises `InvalidArgument` when the op has no backward.

        >>> import torch
        >>> square = Op(lambda x: x * x, lambda grad_output, output, x: (2 * x * grad_output,), name="square")
        >>> x = torch.tensor([3.0], requires_grad=True)
        >>> square.as_function()(x).backward()
        >>> x.grad
        tensor([6.])
        """
        if self.rule is None:
            raise InvalidArgument(missing_backward(self.name))

        def function(*inputs: Any, **options: Any) -> Any:
            self.validate(inputs, options)
            return _HandWritten.apply(self, options, *inputs)  # type: ignore[no-untyped-call]

        function.__name__ = function.__qualname__ = self.name
        function.__doc__ = self.__doc__
        function.__wrapped__ = self.forward  # type: ignore[attr-defined]  # its signature is the forward's
        return function


FORWARD_OF: CodeType = Op.forward.fget.__code__  # type: ignore[attr-defined]  # what runs where `forward` is read


def op(
    *specs: Spec, choices: Mapping[str, Sequence[Any]] | None = None, wrt: Wrt | None = None
) -> Callable[[Callable[..., Any]], Op]:
    """Make an `Op` of a forward; its backward is registered with `@name.backward`.

    `specs` say what its inputs are, `choices` which values of its options fuzzing tries, by the options' names, `wrt` which
    inputs have a gradient.

    >>> from gradcheck_lab.specs import real
    >>> @op(real("*s"))
    ... def halve(x):
    ...     return x / 2
    >>> @halve.backward
    ... def halve_backward(grad_output, output, x):
    ...     '''dx = g / 2.'''
    ...     return (grad_output / 2,)
    >>> halve.formula
    'dx = g / 2.'
    """
    return lambda forward: Op(forward, specs=specs, choices=choices, wrt=wrt)


def missing_backward(name: str) -> str:
    """The message for an op that has a forward only."""
    return f"{name} has no backward; pass gl.Op(forward, backward) or register one with @{name}.backward"


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple or list as a tuple; any other value as a tuple of one."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _signature_problem(signature: tuple[Spec, ...], inputs: Sequence[Any], names: Sequence[str]) -> str | None:
    for spec, value, name in zip(signature, inputs, names, strict=True):
        if (problem := _kind_problem(spec, value, name)) is not None:
            return problem
    return _shape_problem(signature, tuple(value.shape for value in inputs), tuple(names))


@lru_cache(maxsize=1024)  # a program calls one op with the same shapes again and again
def _shape_problem(signature: tuple[Spec, ...], shapes: tuple[torch.Size, ...], names: tuple[str, ...]) -> str | None:
    try:
        specs_module.bind(signature, shapes, names)
    except InvalidArgument as error:
        return str(error)
    return None


def _kind_problem(spec: Spec, value: Any, name: str) -> str | None:
    if not isinstance(value, torch.Tensor):
        return f"input {name!r} is a {type(value).__name__}; pass a tensor that fits {spec}"
    floating = value.is_floating_point() or value.is_complex()
    if spec.differentiable and not floating:
        return f"input {name!r} is {_short(value.dtype)} and {spec} wants a gradient; pass {name}.double()"
    if DTYPES.get(spec.kind) == "bool" and value.dtype != torch.bool:
        return f"input {name!r} is {_short(value.dtype)} and {spec} wants booleans; pass {name}.bool()"
    if not spec.differentiable and floating:
        return f"input {name!r} is {_short(value.dtype)} and {spec} wants whole numbers; pass {name}.long()"
    return None


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class _HandWritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: Op, options: dict[str, Any], *inputs: Any) -> Any:
        output = op.forward(*inputs, **options)
        outputs = as_tuple(output)
        ctx.op, ctx.options, ctx.several = op, options, isinstance(output, (tuple, list))
        ctx.is_tensor = [isinstance(value, torch.Tensor) for value in inputs]
        ctx.constants = [value for value in inputs if not isinstance(value, torch.Tensor)]
        ctx.output_count = len(outputs)
        ctx.save_for_backward(*outputs, *(value for value in inputs if isinstance(value, torch.Tensor)))
        return outputs if ctx.several else output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        saved = ctx.saved_tensors
        outputs, tensors = saved[: ctx.output_count], iter(saved[ctx.output_count :])
        constants = iter(ctx.constants)
        inputs = [next(tensors) if is_tensor else next(constants) for is_tensor in ctx.is_tensor]
        several = ctx.several
        grads = ctx.op.backward(
            grad_outputs if several else grad_outputs[0], outputs if several else outputs[0], *inputs, **ctx.options
        )
        return None, None, *as_tuple(grads)
