"""Every private name of triton that this package uses: its interpreter, which runs kernels on the CPU, and its driver.

No other file names one. Nothing here knows the rest of the package, and triton is imported by nobody unless the user's code has
imported it: `missing_names` says which of these names another version of triton lacks.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# by module, what is used of it; a dot names an attribute of a class
_NAMES = {
    "triton": ("__version__", "cdiv.fn"),
    "triton.language": ("core", "tensor", "float32", "bfloat16", "standard"),
    "triton.runtime.errors": ("InterpreterError",),
    "triton.runtime.driver": ("driver", "driver.set_active"),
    "triton.runtime.interpreter": (
        "_implicit_cvt", "TensorHandle", "InterpretedFunction", "interpreter_builder",
        "interpreter_builder.create_masked_load", "interpreter_builder.create_masked_store",
        "interpreter_builder.create_atomic_rmw", "interpreter_builder.create_atomic_cas",
        "interpreter_builder.create_int_to_ptr", "interpreter_builder.set_grid_dim", "interpreter_builder.set_grid_idx",
        "ReduceScanOpInterface.apply", "TensorDescriptor", "_tuple_create", "_unwrap_tensor", "_rewrap_tensor",
        "_get_np_dtype", "_patch_builtin", "_patch_attr", "_patch_lang", "_LangPatchScope", "tl.core.is_builtin",
        "GridExecutor.__call__", "FunctionRewriter.ast_transformer", "interpreter_semantic.to_tensor",
        "GridExecutor._init_args_hst", "GridExecutor._restore_args_dev", "InterpretedFunction.rewritten_fn",
    ),
}  # fmt: skip
_OURS = "_gradcheck_lab_installed"
# the operations of the interpreter that compute on the numbers themselves, which for bfloat16 are the bits of integers
_ARITHMETIC = tuple(
    f"create_{name}"
    for name in (
        "fadd fsub fmul fdiv frem fneg precise_divf approx_divf minimumf minnumf maximumf maxnumf clampf fma cos sin exp exp2 "
        "floor ceil log log2 sqrt precise_sqrt erf rsqrt dot si_to_fp ui_to_fp fp_to_si fp_to_ui fp_ext fp_trunc "
        "fcmpOLT fcmpOGT fcmpOLE fcmpOGE fcmpOEQ fcmpONE fcmpULT fcmpUGT fcmpULE fcmpUGE fcmpUEQ fcmpUNE"
    ).split()
)
_CASTS = frozenset(f"create_{name}" for name in "si_to_fp ui_to_fp fp_to_si fp_to_ui fp_ext fp_trunc".split())


class Hooks(Protocol):
    """What is told of every launch of an interpreted kernel, and may change what it reads and writes."""

    def launch(self, kernel: Any, names: Sequence[str], constants: Sequence[str], values: dict[str, Any],
               run: Callable[[], Any]) -> Any: ...  # fmt: skip

    def argument(self, name: str, tensor: Any) -> Any: ...

    def finish(self) -> None: ...

    def grid(self, sizes: tuple[int, int, int]) -> None: ...

    def program(self, index: tuple[int, int, int]) -> tuple[int, int, int]: ...

    def read(self, pointers: Array, mask: Array, dtype: np.dtype[Any]) -> Access: ...

    def write(self, pointers: Array, mask: Array, size: int) -> Array: ...

    def atomic(self, pointers: Array, mask: Array, size: int) -> Array: ...

    def makes_pointers(self) -> None: ...

    def divided(self, size: int, block: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Access:
    """Which elements of an access are made, and what stands in for those that are not: positions and their values."""

    mask: Array
    positions: tuple[Array, ...] | None = None
    values: Array | None = None


def is_imported() -> bool:
    """Whether the user's code has imported triton."""
    return "triton" in sys.modules


def is_interpreting() -> bool:
    """Whether triton was imported with TRITON_INTERPRET=1, so that its own functions run in its interpreter.

    In its place: the environment variable, which says nothing of an import before it was set.
    """
    module = sys.modules.get("triton.runtime.interpreter")
    standard = getattr(sys.modules.get("triton.language"), "standard", None)
    kind = getattr(module, "InterpretedFunction", None)
    return kind is not None and any(isinstance(value, kind) for value in vars(standard).values()) if standard else False


def function_of_kernel(value: Any) -> FunctionType | None:
    """The Python function that an interpreted kernel runs, below autotuners and heuristics; None for any other value.

    In its place: nothing, a kernel is then no function of Python.
    """
    if not is_imported() or not is_interpreting():
        return None
    kind = sys.modules["triton.runtime.interpreter"].InterpretedFunction
    while not isinstance(value, kind) and type(value).__module__.startswith("triton.") and hasattr(value, "fn"):
        value = value.fn
    return value.fn if isinstance(value, kind) and isinstance(value.fn, FunctionType) else None


def read_kernels_again(functions: Sequence[FunctionType]) -> None:
    """Let interpreted kernels be read from their source again when they run next.

    In its place: nothing, a kernel then runs as it was first read.
    """
    if is_imported() and is_interpreting():
        read = sys.modules["triton.runtime.interpreter"].InterpretedFunction.rewritten_fn
        for function in functions:
            read.pop(function, None)


def version() -> str:
    """The version of triton. In its place: `importlib.metadata.version("triton")`."""
    return str(importlib.import_module("triton").__version__)


def missing_names() -> tuple[str, ...]:
    """The names used here that the installed triton lacks. In its place: none, it names them all."""
    missing = []
    for module, names in _NAMES.items():
        try:
            found: Any = importlib.import_module(module)
        except ImportError:
            missing.append(module)
            continue
        for name in names:
            value = found
            for part in name.split("."):
                value = getattr(value, part, None)
            if value is None:
                missing.append(f"{module}.{name}")
    return tuple(missing)


def is_interpreter_error(error: BaseException) -> bool:
    """Whether it is what the interpreter makes of whatever a kernel raises. In its place: `RuntimeError`."""
    module = sys.modules.get("triton.runtime.errors")
    return module is not None and isinstance(error, module.InterpreterError)


def is_of_triton(file: str) -> bool:
    """Whether a file of source belongs to triton. In its place: a look at the path."""
    path = getattr(sys.modules.get("triton"), "__file__", None)
    return path is not None and file.startswith(path.removesuffix("__init__.py"))


def install(hooks: Hooks, driver: Any, functions: dict[str, Callable[..., Array]]) -> None:
    """Give the interpreter the hooks, once: scalars and bfloat16 as on a device, `driver`, and the library's functions.

    In its place: the interpreter as it is, under which a kernel with a float argument raises.
    """
    interpreter = importlib.import_module("triton.runtime.interpreter")
    if hasattr(interpreter, _OURS):
        return
    setattr(interpreter, _OURS, True)
    importlib.import_module("triton.runtime.driver").driver.set_active(driver)
    _patch_quickly(interpreter)
    _pass_scalars(interpreter)
    _compute_bfloat16(interpreter)
    _give_library(interpreter, functions)
    _watch_memory(interpreter, hooks)
    _watch_launches(interpreter, hooks)
    _watch_divisions(hooks)


def _patch_quickly(interpreter: Any) -> None:
    """The interpreter replaces Triton's own functions for each launch; what it may replace is found once."""
    core, names = interpreter.tl.core, dict[int, list[str]]()

    def patch(package: Any, builder: Any, scope: Any) -> None:
        known = names.get(id(package))
        if known is None:
            known = names[id(package)] = [name for name in dir(package) if callable(getattr(package, name, None))]
        for name in known:
            member = getattr(package, name)
            if core.is_builtin(member):
                interpreter._patch_attr(package, name, member, builder, scope)

    before, patched = interpreter._patch_lang, set[int]()
    call = interpreter.GridExecutor.__call__

    def patch_once(function: Any) -> Any:
        if id(function.__globals__) in patched:
            return interpreter._LangPatchScope()
        patched.add(id(function.__globals__))
        return before(function)

    def launch(self: Any, *arguments: Any, **keywords: Any) -> Any:
        patched.clear()
        return call(self, *arguments, **keywords)

    interpreter._patch_builtin, interpreter._patch_lang, interpreter.GridExecutor.__call__ = patch, patch_once, launch


def _pass_scalars(interpreter: Any) -> None:
    """A Python float is a float32 scalar within a kernel, as a device gets it; the interpreter leaves it a Python float."""
    before, language = interpreter._implicit_cvt, importlib.import_module("triton.language")

    def convert(value: Any) -> Any:
        if type(value) is not float:
            return before(value)
        with np.errstate(over="ignore"):
            handle = interpreter.TensorHandle(np.array([value], dtype=np.float32), language.float32)
        return language.tensor(handle, language.float32)

    interpreter._implicit_cvt = convert
    _pass_loop_variables(interpreter.FunctionRewriter.ast_transformer)


def _pass_loop_variables(transformer: Any) -> None:
    """What a loop over a range counts is a scalar as well, in functions that the interpreter rewrites from now on."""

    def visit_loop(node: ast.For) -> ast.For:
        transformer.generic_visit(node)
        called = node.iter.func if isinstance(node.iter, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if name == "range" and isinstance(node.target, ast.Name):
            counter = node.target.id
            node.body.insert(0, *ast.parse(f"{counter} = interpreter_semantic.to_tensor({counter}, False)").body)
        return node

    transformer.visit_For = visit_loop


def rounded_to_bfloat16(values: Array) -> Array:
    """The bits of float32 numbers rounded to bfloat16, to even where two are as near, as uint16.

    >>> [hex(bits) for bits in rounded_to_bfloat16(np.array([1.0, 1.00390625, 1.998], dtype=np.float32))]
    ['0x3f80', '0x3f80', '0x4000']
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(values.shape)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def widened_from_bfloat16(bits: Array) -> Array:
    """The float32 numbers of the bits of bfloat16.

    >>> widened_from_bfloat16(np.array([0x3F80, 0xC000], dtype=np.uint16)).tolist()
    [1.0, -2.0]
    """
    return (np.ascontiguousarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(bits.shape)


def _compute_bfloat16(interpreter: Any) -> None:
    """Arithmetic on bfloat16 is done in float32 and rounded to even; the interpreter computes on the bits, and truncates."""
    builder, handle = interpreter.interpreter_builder, interpreter.TensorHandle
    language = importlib.import_module("triton.language")

    def is_ours(value: Any) -> bool:
        return isinstance(value, handle) and value.dtype.scalar == language.bfloat16

    def wide(value: Any) -> Any:
        return handle(widened_from_bfloat16(value.data), language.float32) if is_ours(value) else value

    def narrow(value: Any) -> Any:
        found = np.asarray(value.data)
        return handle(rounded_to_bfloat16(found.astype(np.float32)), language.bfloat16)

    def wrapped(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            to_ours = name in _CASTS and getattr(values[1], "scalar", None) == language.bfloat16
            if not to_ours and not any(map(is_ours, values)):
                return before(*values)
            widened = [wide(value) for value in values]
            if to_ours:
                return narrow(before(widened[0], language.float32, *widened[2:]))
            found = before(*widened)
            if name in _CASTS or name.startswith("create_fcmp"):
                return found
            ours = is_ours(values[2]) if name == "create_dot" else True
            return narrow(found) if ours and found.dtype.scalar == language.float32 else found

        return call

    for name in _ARITHMETIC:
        before = getattr(builder, name, None)
        if before is not None:
            setattr(builder, name, wrapped(name, before))
    _reduce_bfloat16(interpreter)


def _reduce_bfloat16(interpreter: Any) -> None:
    """Reductions and scans of bfloat16 are done in float32, and rounded at the end."""
    language, handle = importlib.import_module("triton.language"), interpreter.TensorHandle
    kind = interpreter.ReduceScanOpInterface
    before = kind.apply

    def as_dtype(value: Any, data: Array, dtype: Any) -> Any:
        shape = list(value.shape)
        return language.tensor(handle(data, dtype), language.core.block_type(dtype, shape) if shape else dtype)

    def apply(self: Any, given: Any) -> Any:
        if not isinstance(given, tuple):
            return apply(self, (given,))[0]
        ours = [isinstance(each, language.tensor) and each.dtype == language.bfloat16 for each in given]
        if not any(ours):
            return before(self, given)
        pairs = list(zip(given, ours, strict=True))
        wide = [as_dtype(v, widened_from_bfloat16(v.handle.data), language.float32) if mine else v for v, mine in pairs]
        found = zip(before(self, tuple(wide)), ours, strict=False)
        return tuple(
            as_dtype(v, rounded_to_bfloat16(np.asarray(v.handle.data)), language.bfloat16)
            if mine and v.dtype == language.float32 else v
            for v, mine in found
        )  # fmt: skip

    kind.apply = apply


def _give_library(interpreter: Any, functions: dict[str, Callable[..., Array]]) -> None:
    """The functions of the device's library, which the interpreter lacks; one that is not in `functions` raises."""
    language, handle = importlib.import_module("triton.language"), interpreter.TensorHandle

    def computed(name: str) -> Callable[..., Any]:
        def call(*values: Any, **keywords: Any) -> Any:
            if name not in functions:
                raise NotImplementedError(f"libdevice.{name} is not to be had in the interpreter")
            tensors = [value if isinstance(value, language.tensor) else interpreter._implicit_cvt(value) for value in values]
            narrow = all(t.dtype == language.bfloat16 for t in tensors)
            arrays = [widened_from_bfloat16(t.handle.data) if t.dtype == language.bfloat16 else t.handle.data for t in tensors]
            found = np.asarray(functions[name](*np.broadcast_arrays(*arrays)))
            first = tensors[0]
            dtypes = {"float32": language.float32, "float64": language.float64, "float16": language.float16,
                      "int32": language.int32, "int64": language.int64, "bool": language.int1}  # fmt: skip
            dtype = language.bfloat16 if narrow and found.dtype == np.float32 else dtypes[found.dtype.name]
            found = rounded_to_bfloat16(found) if narrow and dtype == language.bfloat16 else found
            shaped = next((t for t in tensors if t.type.is_block()), None)
            kind = dtype if shaped is None else language.core.block_type(dtype, list(found.shape))
            return language.tensor(handle(found.reshape(found.shape or (1,)), dtype), kind) if first is not None else None

        return call

    replaced: dict[Any, Any] = {}
    for path in ("triton.language.extra.libdevice", "triton.language.extra.cuda.libdevice"):
        try:
            module = importlib.import_module(path)
        except ImportError:
            continue
        for name, value in list(vars(module).items()):
            if callable(value) and not name.startswith("_") and getattr(value, "__module__", "").startswith("triton.language"):
                replaced[value] = computed(name)
                setattr(module, name, replaced[value])
    before, known = interpreter._patch_lang, set[int]()

    def patch(function: Any) -> Any:
        scope = function.__globals__
        if id(scope) not in known:  # a module may have imported the functions by name before they were replaced
            known.add(id(scope))
            ours = {name: replaced[v] for name, v in scope.items() if inspect.isfunction(v) and v in replaced}
            scope.update(ours)
        return before(function)

    interpreter._patch_lang = patch


def _watch_memory(interpreter: Any, hooks: Hooks) -> None:
    builder, handle = interpreter.interpreter_builder, interpreter.TensorHandle
    load, store, rmw, cas = (
        builder.create_masked_load, builder.create_masked_store, builder.create_atomic_rmw, builder.create_atomic_cas
    )  # fmt: skip
    to_pointer, language = builder.create_int_to_ptr, importlib.import_module("triton.language")

    def masked(mask: Any, kept: Array) -> Any:
        return mask if kept is mask.data else handle(kept, language.int1)

    def read(pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        dtype = interpreter._get_np_dtype(pointers.get_element_ty())
        seen = hooks.read(pointers.data, mask.data, dtype)
        found = load(pointers, masked(mask, seen.mask), other, *rest)
        if seen.positions is not None:
            data = np.array(found.data)
            data[seen.positions] = seen.values
            found = handle(data, found.dtype)
        return found

    def write(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return store(pointers, value, masked(mask, hooks.write(pointers.data, mask.data, value.data.itemsize)), *rest)

    def update(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return rmw(operation, pointers, value, masked(mask, hooks.atomic(pointers.data, mask.data, value.data.itemsize)), *rest)

    def swap(pointers: Any, expected: Any, value: Any, *rest: Any) -> Any:
        every = np.ones_like(pointers.data, dtype=bool)
        if not hooks.atomic(pointers.data, every, value.data.itemsize).all():
            return handle(np.zeros_like(expected.data), expected.dtype.scalar)
        return cas(pointers, expected, value, *rest)

    def make_pointer(value: Any, kind: Any) -> Any:
        hooks.makes_pointers()
        return to_pointer(value, kind)

    builder.create_masked_load, builder.create_masked_store = read, write
    builder.create_atomic_rmw, builder.create_atomic_cas = update, swap
    builder.create_int_to_ptr = make_pointer


def _watch_launches(interpreter: Any, hooks: Hooks) -> None:
    executor, builder = interpreter.GridExecutor, interpreter.interpreter_builder
    call, prepare, restore = executor.__call__, executor._init_args_hst, executor._restore_args_dev
    set_dim, set_index = builder.set_grid_dim, builder.set_grid_idx

    def launch(self: Any, *arguments: Any, **keywords: Any) -> Any:
        names = [*self.arg_names]
        values = {**dict(zip(names, arguments, strict=False)), **{k: v for k, v in keywords.items() if k in names}}
        return hooks.launch(self.fn, names, list(self.constexprs), values, lambda: call(self, *arguments, **keywords))

    def arguments_of(self: Any, given: Any, keywords: dict[str, Any]) -> Any:
        placed, placed_keywords = prepare(self, given, keywords)
        found = [_placed(interpreter, hooks, name, v) for name, v in zip(self.arg_names, placed, strict=False)]
        return found, {name: _placed(interpreter, hooks, name, v) for name, v in placed_keywords.items()}

    def restored(self: Any, given: Any, placed: Any, keywords: dict[str, Any], placed_keywords: dict[str, Any]) -> None:
        hooks.finish()
        if any(_is_elsewhere(value) for value in (*given, *keywords.values())):
            restore(self, given, placed, keywords, placed_keywords)

    def dimensions(*sizes: int) -> None:
        set_dim(*sizes)
        hooks.grid((sizes[0], sizes[1], sizes[2]))

    def index(x: int, y: int, z: int) -> None:
        set_index(*hooks.program((x, y, z)))

    executor.__call__, executor._init_args_hst, executor._restore_args_dev = launch, arguments_of, restored
    builder.set_grid_dim, builder.set_grid_idx = dimensions, index


def _watch_divisions(hooks: Hooks) -> None:
    """What `triton.cdiv` divides, in a grid or elsewhere; a module that has imported it by name has the same object."""
    function = importlib.import_module("triton").cdiv
    divide = function.fn

    def divided(x: Any, y: Any) -> Any:
        if type(x) is int and type(y) is int:
            hooks.divided(x, y)
        return divide(x, y)

    function.fn = divided


def _is_elsewhere(value: Any) -> bool:
    return hasattr(value, "data_ptr") and str(getattr(value, "device", "cpu")) != "cpu"


def _placed(interpreter: Any, hooks: Hooks, name: str, value: Any) -> Any:
    """An argument with its tensors replaced by those of the hooks: within tuples, descriptors and reinterpreted tensors too."""
    if isinstance(value, tuple):
        parts = [_placed(interpreter, hooks, f"{name}[{k}]", each) for k, each in enumerate(value)]
        return interpreter._tuple_create(value, parts)
    if isinstance(value, interpreter.TensorDescriptor):
        base = _placed(interpreter, hooks, name, value.base)
        return type(value)(base, value.shape, value.strides, value.block_shape, value.padding, value.round_f32_to_tf32)
    if not hasattr(value, "data_ptr") or not hasattr(interpreter._unwrap_tensor(value), "untyped_storage"):
        return value
    return interpreter._rewrap_tensor(hooks.argument(name, interpreter._unwrap_tensor(value)), original_tensor=value)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of NumPy within the block: a device computes infinities and NaN without one."""
    import warnings

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
