"""The samples of torch's own databases of operators and modules, each as a call that `gl.check` and `gradcheck` both take.

`torch.testing._internal` is private and needs `expecttest`; nothing of it is imported before `tasks` is called.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

OPERATORS, MODULES = "op_db", "module_db"
DTYPES = ("float64", "float32", "bfloat16", "complex128")


@dataclass(frozen=True, slots=True)
class Task:
    """All samples of an operator or module in one dtype."""

    database: str
    name: str
    dtype: str

    @property
    def key(self) -> str:
        """The task in one word, as it is named on the command line and in the file of results."""
        return f"{self.database}:{self.name}:{self.dtype}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `check(subject, *inputs, options=options)`; `function` takes the tensors that require grad, for gradcheck."""

    subject: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    function: Callable[..., Any]
    tensors: tuple[torch.Tensor, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no tensor that requires grad has an element, so that there is no number to compare."""
        return not any(tensor.numel() for tensor in self.tensors)

    def gives_nothing(self) -> bool:
        """Whether no output that depends on these tensors has an element."""
        return not any(output.numel() for output in self.function(*self.tensors))


def operators() -> list[Any]:
    """The operator database; exits with what is missing where torch's test helpers cannot be imported."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        sys.exit(f"torch's operator database needs {error.name or error}: pip install {error.name or 'expecttest'}")
    return list(op_db)


def modules() -> list[Any]:
    """The module database; exits with what is missing where torch's test helpers cannot be imported."""
    try:
        from torch.testing._internal.common_modules import module_db
    except ImportError as error:
        sys.exit(f"torch's module database needs {error.name or error}: pip install {error.name or 'expecttest'}")
    return list(module_db)


def tasks(dtypes: tuple[str, ...] = DTYPES, databases: tuple[str, ...] = (OPERATORS, MODULES)) -> list[Task]:
    """Every operator with a gradient in each dtype that it takes, and every module in float64."""
    found = []
    for op in operators() if OPERATORS in databases else ():
        if op.supports_autograd:
            known = op.supported_backward_dtypes("cpu")
            found += [Task(OPERATORS, _full_name(op), d) for d in dtypes if getattr(torch, d) in known]
    for info in modules() if MODULES in databases else ():
        found += [Task(MODULES, info.name, d) for d in dtypes[:1] if getattr(torch, d) in info.dtypes]
    return found


def calls(task: Task, limit: int | None) -> Iterator[tuple[int, Call]]:
    """The calls of a task with their numbers, drawn from a fixed seed: all, or `limit` at most, spread over those that are not
    empty; with a limit, empty ones stand in where there are no others.
    """
    torch.manual_seed(0)
    of_database = _operator_calls if task.database == OPERATORS else _module_calls
    found = list(enumerate(of_database(task)))
    if limit is not None:
        found = [(number, call) for number, call in found if not call.is_empty] or found
    if limit is None or len(found) <= limit:
        yield from found
    elif limit == 1:
        yield found[0]
    else:
        yield from (found[place] for place in sorted({round(k * (len(found) - 1) / (limit - 1)) for k in range(limit)}))


def _full_name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def _operator_calls(task: Task) -> Iterator[Call]:
    op = next(op for op in operators() if _full_name(op) == task.name)
    for sample in op.sample_inputs("cpu", getattr(torch, task.dtype), requires_grad=True):

        def function(*inputs: Any, sample: Any = sample, **options: Any) -> Any:
            output = op.gradcheck_wrapper(op.get_op(), *inputs, **options)
            return output if sample.output_process_fn_grad is None else sample.output_process_fn_grad(output)

        function.__name__ = op.name.rpartition(".")[2]
        arguments = (sample.input, *sample.args)
        if _tracked(arguments):
            yield Call(function, arguments, dict(sample.kwargs), *_of_tensors(function, arguments, sample.kwargs))


def _module_calls(task: Task) -> Iterator[Call]:
    info, dtype = next(info for info in modules() if info.name == task.name), getattr(torch, task.dtype)
    for training in (True, False):
        for given in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
            if given.forward_input is None:
                continue
            made = given.constructor_input
            module = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
            bound = inspect.signature(module.forward).bind(*given.forward_input.args, **given.forward_input.kwargs)
            arguments, options = bound.args, bound.kwargs
            if any(torch.nn.parameter.is_lazy(value) for value in module.parameters()):
                module(*arguments, **options)  # which gives its parameters a shape
            parameters = dict(module.named_parameters())

            def function(tensors: dict[str, Any], *inputs: Any, module: Any = module, **options: Any) -> Any:
                return torch.func.functional_call(module, tensors, inputs, options)

            yield Call(module, arguments, options, *_of_tensors(function, (parameters, *arguments), options))


def _tracked(arguments: Any) -> tuple[torch.Tensor, ...]:
    leaves = pytree.tree_leaves(arguments)
    return tuple(v for v in leaves if isinstance(v, torch.Tensor) and v.requires_grad and v.layout == torch.strided)


def _of_tensors(function: Callable[..., Any], arguments: Any, options: Any) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """The function of those tensors alone that require grad, as gradcheck wants it."""
    leaves, layout = pytree.tree_flatten((arguments, dict(options)))
    places = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor) and v.requires_grad]

    def of_tensors(*tensors: torch.Tensor) -> Any:
        given = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        positional, keywords = pytree.tree_unflatten(given, layout)
        outputs = pytree.tree_leaves(function(*positional, **keywords))
        wanted = [o for o in outputs if isinstance(o, torch.Tensor) and (o.is_floating_point() or o.is_complex())]
        return tuple(o for o in wanted if o.requires_grad)

    return of_tensors, tuple(leaves[i] for i in places)
