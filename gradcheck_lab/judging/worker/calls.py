"""The calls of a candidate, and what it returned in them."""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gradcheck_lab.judging.worker.messages import described, restored
from gradcheck_lab.judging.worker.operators import forbid, watch_processes


class Kept(list[Any]):
    """Values that stay here, by number; only the latest stay."""

    def append(self, value: Any) -> None:
        super().append(value)
        if len(self) > 512:
            self[len(self) - 513] = None


class Calls:
    """The candidate, what it was called with, and what it returned."""

    def __init__(self, forbidden: list[str]) -> None:
        self.called = forbid(forbidden)
        self.started: list[str] = []
        if forbidden:
            watch_processes(self.started)
        self.live: dict[int, list[Any]] = {}
        self.kept = Kept()
        self.free: dict[int, list[Any]] = {}

    def load(self, path: str) -> None:
        """Run the file, and find out what its candidate is."""
        module = types.ModuleType("candidate")
        module.__file__ = path
        sys.modules[module.__name__] = module
        sys.path.insert(0, os.path.dirname(path))
        os.chdir(os.path.dirname(path))
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), path, "exec"), module.__dict__)
        if "candidate" not in module.__dict__:
            raise NameError("the file defines no candidate")
        self.candidate: Any = module.__dict__["candidate"]
        self.form, self.functions, self.signatures = self._found()
        rule = getattr(self.functions[0], "__self__", None) if self.form == "function" else None
        self.node = f"{rule.__name__}Backward" if rule is not None else ""

    def _found(self) -> tuple[str, list[Callable[..., Any]], list[Any]]:
        value = self.candidate
        if isinstance(value, type) and issubclass(value, torch.autograd.Function):
            return "function", [value.apply], [_parameters(value.forward)]
        if getattr(value, "__name__", "") == "apply" and isinstance(getattr(value, "__self__", None), type):
            return "function", [value], [_parameters(value.__self__.forward)]
        if isinstance(value, type) and (issubclass(value, torch.nn.Module) or hasattr(value, "backward")):
            value = value()
        if isinstance(value, torch.nn.Module):
            return "callable", [value], [_parameters(value.forward)]
        if type(value) in (tuple, list) and len(value) == 2:
            return "pair", list(value), [_parameters(each) for each in value]
        if callable(getattr(value, "forward", None)) and callable(getattr(value, "backward", None)):
            functions = [value.forward, value.backward]
            return "layer", functions, [_parameters(each) for each in functions]
        if not callable(value):
            raise TypeError(f"candidate is a {type(value).__name__}, and nothing that can be called")
        return "callable", [value], [_parameters(value)]

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a forward that autograd goes through, or a function as it is."""
        number = request["number"]
        leaves: list[torch.Tensor] = []

        def convert(tensor: torch.Tensor, kind: str) -> Any:
            leaf = self._placed(tensor) if request["same place"] else tensor
            if request["needs"][len(leaves) : len(leaves) + 1] == [True]:
                leaf.requires_grad_()
            leaves.append(leaf)
            return leaf.numpy() if kind == "array" else leaf

        arguments = [restored(each, self.kept, convert) for each in request["arguments"]]
        options = {name: restored(each, self.kept) for name, each in request["options"]}
        before = [leaf.detach().clone() for leaf in leaves]
        torch.manual_seed(request["seed"])
        function = self.functions[request["function"]]
        by_position = self.form == "function"
        result = function(*arguments, *options.values()) if by_position else function(*arguments, **options)
        said = described(result, self.kept)
        outputs = _tensors(result)
        self.live[number] = [leaves, outputs, result, None]
        return {
            "result": said,
            "graph": _graph(outputs),
            "needing": [bool(each.requires_grad) for each in outputs],
            "written": _written(before, leaves),
        }

    def gradients(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the backward of a call, through the engine."""
        leaves, outputs, *_ = self.live[request["number"]]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        upstream = [restored(each, self.kept) for each in request["upstream"]]
        pairs = [(o, g) for o, g in zip(outputs, upstream, strict=False) if o.requires_grad and g is not None]
        before = [g.clone() for _, g in pairs]
        torch.manual_seed(request["seed"])
        found: list[Any] = [None] * len(wanted)
        if pairs and wanted:
            found = _differentiated([o for o, _ in pairs], [g for _, g in pairs], wanted, request["engine"])
        said = described(found, self.kept)
        self.live[request["number"]][3] = found
        return {"result": said, "written": _written(before, [g for _, g in pairs])}

    def read_again(self, numbers: list[int]) -> list[Any]:
        """What calls returned, read once more."""
        return [[each, *(described(value, []) for value in self.live[each][2:])] for each in numbers if each in self.live]

    def forget(self, numbers: list[int]) -> None:
        """Forget calls; the memory of their inputs is used for others, that of the last call first and in its order."""
        for number in numbers:
            for leaf in reversed(self.live.pop(number, [[]])[0]):
                self.free.setdefault(_size(leaf), []).append(leaf.untyped_storage())

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor in memory where one of a former call was."""
        waiting = self.free.get(_size(tensor))
        if not waiting:
            return tensor
        storage = waiting.pop()
        storage.copy_(tensor.untyped_storage())
        place: Any = torch.empty(0, dtype=tensor.dtype)
        made: torch.Tensor = place.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
        return made


def _differentiated(outputs: list[Any], upstream: list[Any], wanted: list[Any], engine: str) -> list[Any]:
    if engine == "grad":
        return list(torch.autograd.grad(outputs, wanted, upstream, retain_graph=True, allow_unused=True))
    for leaf in wanted:
        leaf.grad = None
    torch.autograd.backward(outputs, upstream, retain_graph=True)
    found = [leaf.grad for leaf in wanted]
    for leaf in wanted:
        leaf.grad = None
    return found


def _size(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _written(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> list[Any]:
    """The tensors that a call wrote to, with their place among its arguments."""
    found = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        now = new.detach()
        alike = old.shape == now.shape and old.dtype == now.dtype
        if not alike or not bool(((old == now) | ((old != old) & (now != now))).all()):
            found.append([index, now.clone()])
    return found


def _tensors(result: Any) -> list[torch.Tensor]:
    values = result if isinstance(result, (tuple, list)) else [result]
    return [value for value in values if isinstance(value, torch.Tensor)]


def _graph(outputs: Sequence[torch.Tensor]) -> list[str]:
    """The names of the nodes behind some outputs."""
    waiting: list[Any] = [each.grad_fn for each in outputs if each.grad_fn is not None]
    seen: set[Any] = set()
    names: set[str] = set()
    while waiting and len(seen) < 10_000:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        waiting += [each for each, _ in node.next_functions if each is not None]
    return sorted(names)


def _parameters(function: Any) -> list[Any] | None:
    """A function's parameters, each as its name, whether it is needed, and its kind; None where they are not known."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[each.name, each.default is inspect.Parameter.empty, each.kind.name] for each in found]
