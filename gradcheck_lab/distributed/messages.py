"""What this process and the ranks tell one another: JSON, and the bytes of tensors. Neither end executes what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from multiprocessing.connection import Connection
from typing import Any

import torch

from gradcheck_lab.workers.messages import NoMessage, pack, unpack

_DTYPES = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}  # fmt: skip
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: some words and numbers by name, and values, each a tensor or plain."""

    about: Mapping[str, Any] = field(default_factory=dict)
    values: Sequence[Any] = ()


def packed(message: Message) -> list[bytes]:
    """A message as it is sent, one block after the other; the tensors arrive with the strides that they have here.

    Raises what torch raises for a tensor that has no memory of its own.
    """
    entries, blocks = [], []
    for value in message.values:
        if isinstance(value, torch.Tensor):
            entry, data = _entry(value)
            entries.append(entry)
            blocks.append(data)
        else:
            entries.append({"plain": value})
    return [pack({"about": dict(message.about), "values": entries}), *blocks]


def send(connection: Connection, blocks: Sequence[bytes]) -> None:
    """Send what `packed` made of a message."""
    for block in blocks:
        connection.send_bytes(block)


def receive(connection: Connection) -> Message:
    """The next message. Raises `NoMessage` for bytes that are none, `EOFError` and `OSError` as the connection does."""
    head = unpack(connection.recv_bytes())
    if not (isinstance(head, dict) and isinstance(head.get("about"), dict) and isinstance(head.get("values"), list)):
        raise NoMessage("JSON that is no message")
    values = [_value(entry, connection) for entry in head["values"]]
    return Message(head["about"], values)


def _entry(value: torch.Tensor) -> tuple[dict[str, Any], bytes]:
    value = value.detach().resolve_conj().resolve_neg().cpu()
    entry = {
        "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "stride": list(value.stride()),
        "offset": int(value.storage_offset()) if not value.is_contiguous() else 0,
    }  # fmt: skip
    flat = value.reshape(-1) if value.is_contiguous() else value.as_strided((_reach(entry),), (1,), value.storage_offset())
    return entry, flat.contiguous().view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _value(entry: Any, connection: Connection) -> Any:
    if isinstance(entry, dict) and "plain" in entry and isinstance(entry["plain"], PLAIN):
        return entry["plain"]
    if not _is_tensor(entry):
        raise NoMessage("JSON that is no tensor")
    dtype, shape, reach = _DTYPES[entry["dtype"]], entry["shape"], _reach(entry)
    data = connection.recv_bytes()
    if len(data) != reach * dtype.itemsize:
        raise NoMessage(f"{len(data)} bytes for a tensor of {reach * dtype.itemsize}")
    if not reach:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype)
    if entry["offset"]:
        flat = torch.cat([flat.new_zeros(entry["offset"]), flat])
    return flat.as_strided(shape, entry["stride"], entry["offset"])


def _is_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
        return False
    shape, stride, offset = entry.get("shape"), entry.get("stride"), entry.get("offset")
    if not isinstance(shape, list) or not isinstance(stride, list) or len(shape) != len(stride):
        return False
    return all(type(number) is int and number >= 0 for number in [*shape, *stride, offset])


def _reach(entry: Mapping[str, Any]) -> int:
    """The elements of memory from the first to the last of a tensor."""
    if not prod(entry["shape"]):
        return 0
    return 1 + sum(int((size - 1) * step) for size, step in zip(entry["shape"], entry["stride"], strict=True))
