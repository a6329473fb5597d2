"""Every private name of torch that this package uses: what it is, and what to use in its place should torch drop it.

No other file names one. Nothing here knows the rest of the package; what is slow to import is imported when it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import overrides
from torch._C import _len_torch_function_stack
from torch._decomp import decomposition_table
from torch._library.custom_ops import OPDEFS, CustomOpDef
from torch.autograd.function import _SingleLevelFunction as FunctionBase
from torch.utils import _pytree as pytree
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, is_in_torch_dispatch_mode

__all__ = ["CUSTOM_OP_NODE", "MODULE_TABLES", "CustomOpDef", "DispatchMode", "FunctionBase", "pytree"]

# CustomOpDef: what `torch.library.custom_op` makes. In its place: `torch.ops.ns.name` alone, whose kernel is then not followed.
# FunctionBase: where `Function.apply` ends, however it was bound. In its place: `torch.autograd.Function.apply` itself.
# pytree: lays nested arguments flat, with paths. In its place: `optree`, which torch's is modelled on.

# how the names of the Functions begin that custom ops make; in its place: nothing, such ops are then not followed
CUSTOM_OP_NODE = "GeneratedBackwardFor_"
# where a module holds what it registers; in its place: `named_parameters(recurse=False)` and its like
MODULE_TABLES = ("_parameters", "_buffers", "_modules")
# what torch does to views when they are read; in its place: `resolve_conj` and `resolve_neg` of the arguments of each call
_LAZY = (torch._C.DispatchKey.Conjugate, torch._C.DispatchKey.Negative)


class DispatchMode(TorchDispatchMode):
    """A mode that sees every call below autograd, as `call`. In its place: `TorchFunctionMode`, which sees those above it.

    Zeros without memory, which forward mode makes, become ordinary zeros: many a kernel that a mode hands them to reads them
    all the same, and the process dies (`addmm` with beta, `addcmul`, `ldexp`, ...). Views that are conjugated or negated only
    when they are read are read as such: below a mode torch leaves that out, so that a kernel which makes one, as `pinv` of a
    complex matrix does, returns other numbers.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        left_out = [key for key in _LAZY if torch._C._dispatch_tls_is_dispatch_key_excluded(key)]
        for key in left_out:
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
        try:
            given = {key: _in_memory(value) for key, value in (kwargs or {}).items()}
            return self.call(func, tuple(map(_in_memory, args)), given)
        finally:
            for key in left_out:
                torch._C._dispatch_tls_set_dispatch_key_excluded(key, True)

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of an operator."""
        raise NotImplementedError

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, 1.5 s, for a mode that is never compiled


def _in_memory(value: Any) -> Any:
    """A zero tensor without memory as an ordinary one; below a mode a kernel would read it, and end the process.

    In its place: an addition of zeros, which costs time.
    """
    if isinstance(value, torch.Tensor):
        return torch.zeros(value.shape, dtype=value.dtype, device=value.device) if value._is_zerotensor() else value
    return [_in_memory(each) for each in value] if isinstance(value, list) else value


def without_modes() -> AbstractContextManager[Any]:
    """Takes off all dispatch modes for a block, and yields them. In its place: each mode is left and entered by hand."""
    return cast("AbstractContextManager[Any]", _disable_current_modes())


def within_a_mode() -> bool:
    """Whether a dispatch mode is on. In its place: True, which costs time alone."""
    return bool(is_in_torch_dispatch_mode())


def without_torch_function() -> AbstractContextManager[Any]:
    """Hides a block from all modes and subclasses above autograd. In its place: `torch.overrides` with a mode of our own."""
    return cast("AbstractContextManager[Any]", torch._C.DisableTorchFunction())


@contextmanager
def without_function_modes() -> Iterator[list[Any]]:
    """Hides a block from modes and subclasses above autograd and from torch's compiler, and yields the modes.

    In its place: `without_torch_function`; the compiler then compiles again for each mode.
    """
    modes = [overrides._pop_mode() for _ in range(_len_torch_function_stack())][::-1]
    try:
        with torch._C.DisableTorchFunction():
            yield modes
    finally:
        for mode in modes:
            overrides._push_mode(mode)


@contextmanager
def with_function_modes(modes: Sequence[Any]) -> Iterator[None]:
    """Shows a block within `without_function_modes` to the modes that this hid. In its place: no such block around it."""
    with torch._C._EnableTorchFunction():
        for mode in modes:
            overrides._push_mode(mode)
        try:
            yield
        finally:
            for _ in modes:
                overrides._pop_mode()


def writes_to(value: torch.Tensor) -> int:
    """How often torch wrote to the tensor since it was made. In its place: a copy of its values, compared."""
    return value._version


def is_zero_tensor(value: torch.Tensor) -> bool:
    """Whether it is a zero without memory, as forward mode makes them. In its place: whether reading it raises."""
    return bool(value._is_zerotensor())


def decomposition(function: Any) -> Callable[..., Any] | None:
    """A fused operation by its steps; None where it has none. In its place: a table of our own, from torch's documentation."""
    return decomposition_table.get(function)


def sequence_number(node: Any) -> int:
    """The place of a node of the graph in the order of the forward. In its place: a walk of the graph in topological order."""
    return int(node._sequence_nr())


def saved(node: Any, name: str) -> Any:
    """What a node of the graph saved by a name; None where it saved none or has freed it. In its place: None."""
    try:
        return getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError):
        return None


def shapes_of_results(node: Any) -> list[tuple[int, ...]]:
    """The shapes of a node's results. In its place: those of the variables that hold them."""
    return [tuple(result.shape) for result in node._input_metadata]


def node_class(function: Any) -> Any:
    """The class of the graph's nodes that a Function makes. In its place: the name of the Function and `Backward`."""
    return function._backward_cls


_CHECKPOINT = "_checkpoint_without_reentrant_generator"
_checkpointed: Callable[..., Iterator[None]] | None = getattr(checkpoint, _CHECKPOINT, None)


def replace_checkpointing(replacement: Callable[[Callable[..., Iterator[None]]], Callable[..., Iterator[None]]] | None) -> None:
    """Put another generator around checkpointed functions, or back torch's own. In its place: they stay as they are."""
    if _checkpointed is not None:
        setattr(checkpoint, _CHECKPOINT, _checkpointed if replacement is None else replacement(_checkpointed))


def registered(module: torch.nn.Module) -> dict[str, Any]:
    """The parameters, buffers and children that a module holds itself. In its place: `named_parameters` and its like."""
    return {**module._parameters, **module._buffers, **module._modules}


def buffer_names(module: torch.nn.Module) -> set[str]:
    """The names of a module's own buffers, those set to None too. In its place: `named_buffers(recurse=False)`."""
    return set(module._buffers)


def schema(operator: Any) -> Any:
    """The name and arguments of an operator: their defaults, and which it writes to. In its place: `inspect.signature`."""
    return operator._schema


def overload_of(value: Any) -> Any:
    """The overload that a custom op or an overload is; None for others. In its place: `getattr(torch.ops.ns, name)`."""
    if isinstance(value, CustomOpDef):
        return value._opoverload
    return value if isinstance(value, torch._ops.OpOverload) else None


def is_packet(value: Any) -> bool:
    """Whether it is `torch.ops.ns.name`, which stands for all its overloads. In its place: `hasattr(value, "overloads")`."""
    return isinstance(value, torch._ops.OpOverloadPacket)


def custom_ops() -> Mapping[str, Any]:
    """All custom ops by qualified name. In its place: nothing; operators are then known without their kernels in Python."""
    return OPDEFS


def definition_of(value: Any, operator: Any) -> Any:
    """The custom op that an operator belongs to; None for others. In its place: nothing, as for `custom_ops`."""
    if isinstance(value, CustomOpDef):
        return value
    return OPDEFS.get(operator._schema.name) if operator._overloadname == "default" else None


def body_of(definition: Any) -> Any:
    """The function that was decorated as a custom op; None for anything else. In its place: the user's own function."""
    return getattr(definition, "_init_fn", None)


def kernel_of(definition: Any, device: str | None) -> Callable[..., Any]:
    """The kernel in Python of a custom op for a type of device. In its place: the user's own function."""
    found: Callable[..., Any] | None = definition._backend_fns.get(device) or definition._backend_fns.get(None)
    return found or cast("Callable[..., Any]", definition._init_fn)


def has_kernel(operator: Any, key: str) -> bool:
    """Whether an operator has a kernel at a dispatch key. In its place: whether a call on tensors that require grad raises."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), key))


def registered_backward(registration: Any) -> Any:
    """The backward that `register_autograd` was given. In its place: the gradients that torch's engine delivers."""
    return registration._backward_fn


def registered_setup(registration: Any) -> Any:
    """The `setup_context` that `register_autograd` was given. In its place: none, and no saved tensor has a name."""
    return getattr(registration, "_setup_context_fn", None)


def set_registered_backward(registration: Any, backward: Any) -> None:
    """Put another backward in the place of the one that `register_autograd` was given. In its place: as for reading it."""
    registration._backward_fn = backward


def registration_behind(node: Any) -> Any:
    """What holds the registered backward of an operator, found from a node. In its place: none, and it is not seen."""
    pending = [getattr(getattr(node, "_forward_cls", None), "backward", None)]
    while pending:
        for cell in getattr(pending.pop(), "__closure__", None) or ():
            if hasattr(cell.cell_contents, "_backward_fn"):
                return cell.cell_contents
            if inspect.isfunction(cell.cell_contents):
                pending.append(cell.cell_contents)
    return None


@contextmanager
def numpy_pad_traceable() -> Iterator[None]:
    """Gives torch's compiler a `numpy.pad` of our own: its own makes a tensor of the widths, whose values no trace knows.

    In its place: nothing; a layer that pads is then checked against central differences.
    """
    import numpy
    from torch._dynamo.variables.misc import get_np_to_tnp_map

    known = cast(dict[Any, Any], get_np_to_tnp_map())
    before, known[numpy.pad] = known.get(numpy.pad), _pad
    try:
        yield
    finally:
        known[numpy.pad] = before


def _pad(array: Any, pad_width: Any, mode: str = "constant", **keywords: Any) -> Any:
    import numpy
    from torch._numpy import _ndarray

    if mode != "constant":
        raise NotImplementedError(f"np.pad with mode={mode!r}")
    tensor = array.tensor if isinstance(array, _ndarray.ndarray) else torch.as_tensor(array)
    widths = numpy.broadcast_to(numpy.array(pad_width), (tensor.ndim, 2))[::-1].ravel().tolist()
    padded = torch.nn.functional.pad(tensor, widths, value=keywords.get("constant_values", 0))
    return _ndarray.ndarray(padded)


_pad.__module__ = "torch._numpy"  # the compiler traces what lies there


def is_wrapped_by_a_transform(value: torch.Tensor) -> bool:
    """Whether vmap, grad or jvp of torch.func made it. In its place: whether comparing it with itself raises."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def sequence_like(result: Any, parts: list[Any]) -> Any:
    """A tuple or list like `result`, with its names: those of torch's own results (values and indices) or of a named tuple.

    In its place: a plain tuple of the parts.
    """
    return result._make(parts) if hasattr(result, "_make") else type(result)(parts)


def compiler_counts() -> dict[str, dict[str, int]]:
    """What torch's compiler counted since it was reset: graphs, and graph breaks by reason. In its place: nothing is told."""
    from torch._dynamo.utils import counters

    return {"graph_break": dict(counters["graph_break"]), "stats": dict(counters["stats"])}


def compiled_again() -> list[str]:
    """The guards that failed, so that the compiler ran again, since it was reset. In its place: nothing is told."""
    from torch._dynamo.utils import guard_failures

    return [str(getattr(reason, "reason", reason)) for reasons in guard_failures.values() for reason in reasons]


def forget_compiled() -> None:
    """Forget all that `torch.compile` made in this process, and its counts. In its place: `torch.compiler.reset` alone."""
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()


def has_cpp_compiler() -> bool:
    """Whether inductor finds a C++ compiler. In its place: whether compiling a function of one line raises."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:
        return False


def call_of_module(module: torch.nn.Module) -> Callable[..., Any]:
    """What calling a module runs, hooks included. In its place: its `forward`."""
    call: Callable[..., Any] = module._call_impl
    return call


@contextmanager
def module_called_by(module: torch.nn.Module, call: Callable[..., Any] | None) -> Iterator[None]:
    """For a block, calling the module runs `call`, as `module.compile()` has it. In its place: `module.compile`, for good."""
    own = vars(module)
    before = own.get("_compiled_call_impl", own)
    own["_compiled_call_impl"] = call
    try:
        yield
    finally:
        own.pop("_compiled_call_impl", None)
        if before is not own:
            own["_compiled_call_impl"] = before


def fake_result(operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the fake kernel of an operator returns for these arguments; raises what it raises.

    In its place: `torch.library.opcheck`, which compares the results of one operator and says which differ in words alone.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        fakes = pytree.tree_map_only(torch.Tensor, mode.from_tensor, (args, dict(kwargs)))
        return operator(*fakes[0], **fakes[1])


def depends_on_data(error: BaseException) -> bool:
    """Whether a fake kernel raised since a size or branch depends on values that it does not have. In its place: False."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    return isinstance(error, (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode))
