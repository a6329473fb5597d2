"""Messages between the two processes: containers, plain values and the bytes of tensors. Nothing in them is executed."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy
import torch

LENGTH = struct.Struct("<q")
PLAIN = (type(None), bool, int, float, complex, str, torch.dtype)
_ORDINARY = (torch.Tensor, torch.nn.Parameter)


def pack(message: Any) -> bytes:
    """The bytes of a message: containers, plain values, and tensors as the bytes of their memory with their strides."""
    blobs: list[bytes] = []
    head = json.dumps(_coded(message, blobs)).encode()
    return LENGTH.pack(len(head)) + head + b"".join(blobs)


def unpack(data: bytearray) -> Any:
    """The message of some bytes, of which nothing is executed. Raises any exception for other bytes than `pack` makes."""
    start = LENGTH.size + LENGTH.unpack_from(data)[0]
    return _decoded(json.loads(data[LENGTH.size : start]), memoryview(data), [start])


def _coded(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        blobs.append(ctypes.string_at(storage.data_ptr(), storage.nbytes()))
        dtype = str(value.dtype).removeprefix("torch.")
        return {"tensor": [dtype, list(value.shape), list(value.stride()), value.storage_offset(), storage.nbytes()]}
    if isinstance(value, dict):
        return {"dict": [[key, _coded(each, blobs)] for key, each in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_coded(each, blobs) for each in value]
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return {"dtype": str(value).removeprefix("torch.")} if isinstance(value, torch.dtype) else value


def _decoded(value: Any, data: memoryview, place: list[int]) -> Any:
    if isinstance(value, list):
        return [_decoded(each, data, place) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, rest),) = value.items()
    if kind == "dict":
        return {key: _decoded(each, data, place) for key, each in rest}
    if kind == "complex":
        return complex(*rest)
    if kind == "dtype":
        return _dtype(rest)
    dtype, shape, stride, offset, size = rest
    start, place[0] = place[0], place[0] + size
    last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True)) if all(shape) else -1
    if min([size, offset, *shape, *stride]) < 0 or place[0] > len(data) or (last + 1) * _dtype(dtype).itemsize > size:
        raise ValueError("a tensor is longer than its memory")
    memory = torch.empty(size, dtype=torch.uint8)
    if size:
        memory.copy_(torch.frombuffer(data, dtype=torch.uint8, count=size, offset=start))
    made: Any = torch.empty(0, dtype=_dtype(dtype))
    return made.set_(memory.untyped_storage(), offset, shape, stride)


def _dtype(name: str) -> torch.dtype:
    found: Any = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name} is no dtype")
    return found


def write(to: int, data: bytes) -> None:
    """Write bytes with their length to a file descriptor."""
    rest = memoryview(LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(to, rest) :]


def read(source: int) -> bytearray | None:
    """Read what `write` wrote; None at the end."""
    head = _exactly(source, LENGTH.size)
    return None if head is None else _exactly(source, LENGTH.unpack(head)[0])


def _exactly(source: int, size: int) -> bytearray | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(source, min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return data


def described(value: Any, kept: list[Any]) -> list[Any]:
    """A value as what can be sent, [kind, ...]. What is no tensor, array, container or plain value stays, under a number."""
    if isinstance(value, torch.Tensor):
        if type(value) not in _ORDINARY:
            return ["odd", f"a {type(value).__name__}, a subclass of a tensor"]
        if value.device.type == "meta" or value.layout is not torch.strided:
            return ["odd", f"a tensor on {value.device} in the layout {value.layout}"]
        with torch.no_grad():
            return ["tensor", value.detach().to("cpu", copy=True)]
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        if type(value) is not numpy.ndarray and not isinstance(value, numpy.generic):
            return ["odd", f"a {type(value).__name__}, a subclass of an array"]
        copied = numpy.array(value, copy=True)
        if copied.dtype.kind in "biufc":
            return ["array", torch.from_numpy(copied if copied.ndim else copied.reshape(1)).reshape(copied.shape)]
    if type(value) in (tuple, list):
        return [type(value).__name__, [described(each, kept) for each in value]]
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return ["dict", [[key, described(each, kept)] for key, each in value.items()]]
    if type(value) in PLAIN:
        return ["plain", value]
    kept.append(value)
    return ["kept", len(kept) - 1, type(value).__name__]


def restored(message: Any, kept: list[Any], convert: Callable[[torch.Tensor, str], Any] = lambda tensor, kind: tensor) -> Any:
    """The value that `described` describes; `convert(tensor, kind)` makes what stands for a tensor or an array."""
    kind, value = message[0], message[1]
    if kind in ("tensor", "array"):
        return convert(value, kind)
    if kind in ("tuple", "list"):
        items = [restored(each, kept, convert) for each in value]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {key: restored(each, kept, convert) for key, each in value}
    return kept[value] if kind == "kept" else value
