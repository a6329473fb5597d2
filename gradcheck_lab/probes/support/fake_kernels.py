"""What the fake kernels of custom operators promise within a call, beside what their kernels return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.model.torch_messages import lacks_fake_kernel
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.torch_internals import DispatchMode, depends_on_data, fake_result, pytree, schema

# torch's own operators, whose fake kernels are torch's to keep
_OF_TORCH = frozenset(
    "aten prim prims profiler quantized quantized_decomposed inductor higher_order rngprims debugprims mkldnn mkl onednn "
    "c10d _c10d_functional _c10d_functional_autograd c10d_functional symm_mem xnnpack static_runtime sparse mkldnn_prepacked "
    "torchvision torchaudio".split()
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise of an operator that its kernel does not keep: `missing` where it has no fake kernel; else the `difference`."""

    operator: str
    difference: str
    missing: bool = False
    of_strides: bool = False


class FakeKernels(DispatchMode):
    """Within the block, every call of a custom operator is held against its fake kernel; `broken` are the first of each."""

    def __init__(self, skip: str | None = None) -> None:
        super().__init__()
        self.broken: dict[str, Broken] = {}
        self._skip = skip

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if getattr(func, "namespace", "aten") in _OF_TORCH:
            return func(*args, **kwargs)
        name = schema(func).name
        if name == self._skip or name in self.broken:
            return func(*args, **kwargs)
        promise = _promise(func, args, kwargs)
        result = func(*args, **kwargs)
        found = promise(name, result)
        if found is not None:
            self.broken[name] = found
        return result


def _promise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[str, Any], Broken | None]:
    """How to hold a result against what the fake kernel says before the kernel runs, which may write to its arguments."""
    try:
        fake = fake_result(func, args, kwargs)
    except Exception as error:
        if depends_on_data(error):
            return lambda name, result: None
        missing, said = lacks_fake_kernel(error), class_and_line(error)
        return lambda name, result: Broken(name, f"its fake kernel raised {said}", missing)
    return lambda name, result: difference(name, fake, result)


def difference(name: str, fake: Any, real: Any) -> Broken | None:
    """The first tensor of a result that is not as the fake kernel says: its shape, dtype, device or strides.

    >>> difference("lab::f", torch.empty(3), torch.empty(4)).difference
    'it promises the shape (3,), and the kernel returns (4,)'
    """
    promised, returned = pytree.tree_leaves(fake), pytree.tree_leaves(real)
    if len(promised) != len(returned):
        return Broken(name, f"it promises {len(promised)} results, and the kernel returns {len(returned)}")
    for index, (a, b) in enumerate(zip(promised, returned, strict=True)):
        where = f" for result {index}" if len(promised) > 1 else ""
        if isinstance(a, torch.Tensor) != isinstance(b, torch.Tensor):
            return Broken(name, f"it promises a {type(a).__name__}{where}, and the kernel returns a {type(b).__name__}")
        if not isinstance(a, torch.Tensor):
            continue
        for what, mine, theirs in (
            ("shape", tuple(a.shape), tuple(b.shape)),
            ("dtype", _short(a.dtype), _short(b.dtype)),
            ("device", a.device.type, b.device.type),
        ):
            if mine != theirs:
                return Broken(name, f"it promises the {what} {mine}{where}, and the kernel returns {theirs}")
        if a.layout == b.layout == torch.strided and _strides(a) != _strides(b):
            text = f"it promises the strides {tuple(a.stride())}{where}, and the kernel returns {tuple(b.stride())}"
            return Broken(name, text, of_strides=True)
    return None


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _strides(value: torch.Tensor) -> list[int]:
    """The strides that say where an element lies: none of an empty tensor, none along an axis of one element."""
    return [s for s, n in zip(value.stride(), value.shape, strict=True) if n > 1] if value.numel() else []
