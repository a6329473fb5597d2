"""`torch.compile` for a probe: its backends, a block that leaves nothing compiled behind, and what it says of what it did."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.model.shown import one_line
from gradcheck_lab.torch_internals import compiled_again, compiler_counts, forget_compiled, has_cpp_compiler

NAMES = ("eager", "aot_eager", "inductor")
# no process of its own, which would outlive the check, and no result of an earlier check: a fake kernel may have been mended
_INDUCTOR = {"compile_threads": 1, "fx_graph_cache": False, "fx_graph_remote_cache": False, "fallback_random": True}


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend of torch's compiler, with the options that it is given."""

    name: str

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function compiled, with sizes that become dynamic at the second ones."""
        options = _INDUCTOR if self.name == "inductor" else None
        return torch.compile(function, backend=self.name, options=dict(options) if options else None)


@dataclass(frozen=True, slots=True)
class Compiler:
    """What the compiler did since it was reset: how many graphs it made, why it left one, and the guards it ran again for."""

    graphs: int
    breaks: tuple[str, ...]
    again: tuple[str, ...]


def backends(names: Sequence[str], inputs: Sequence[Any]) -> tuple[list[Backend], str]:
    """The named backends that these inputs can have, and what inductor lacks where it is named and not among them."""
    lacking = _lacking(inputs) if "inductor" in names else ""
    return [Backend(name) for name in names if name != "inductor" or not lacking], lacking


def _lacking(inputs: Sequence[Any]) -> str:
    if any(value.device.type != "cpu" for value in inputs if isinstance(value, torch.Tensor)):
        return "" if importlib.util.find_spec("triton") is not None else "Triton, which it needs on this device"
    return "" if has_cpp_compiler() else "a C++ compiler, which it needs on the CPU"


@contextmanager
def fresh_compiler() -> Iterator[Callable[[], Compiler]]:
    """A block before and after which nothing is compiled, and which logs nothing; yields what the compiler did in it so far."""
    disabled = logging.root.manager.disable
    forget_compiled()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():  # of torch's own code, and of the user's, which were shown when the call itself ran
            warnings.simplefilter("ignore")
            yield _said
    finally:
        logging.disable(disabled)
        forget_compiled()


def _said() -> Compiler:
    counts = compiler_counts()
    return Compiler(
        counts["stats"].get("unique_graphs", 0),
        tuple(_reason(text) for text in counts["graph_break"]),
        tuple(dict.fromkeys(_guard(text) for text in compiled_again())),
    )


def _reason(text: str) -> str:
    """The reason of a graph break: its first line, and the explanation that dynamo gives on the second.

    >>> _reason("Unsupported call\\n  Explanation: Dynamo does not trace it.\\n  Hint: none")
    'Unsupported call: Dynamo does not trace it.'
    """
    first, *rest = text.strip().splitlines() or [""]
    why = next((line.strip() for line in rest if line.strip().startswith("Explanation:")), "")
    return one_line(f"{first}: {why.removeprefix('Explanation:').strip()}" if why else first)


def _guard(text: str) -> str:
    """A guard that failed, without its number and the comment that says where it was made."""
    return one_line((text.partition(": ")[2] if text[:1].isdigit() else text).partition("  #")[0].strip())
