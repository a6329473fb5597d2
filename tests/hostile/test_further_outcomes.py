"""Sixty further hostile rows: subjects with threads, forks, replaced functions, endless data and odd values."""

from __future__ import annotations

import atexit
import builtins
import contextvars
import gc
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.specs import real
from tests.hostile.subjects import FORMS, X, op, square, twice
from tests.hostile.test_outcomes import outcome
from tests.hostile.test_state import state

QUICK: dict[str, Any] = {"probes": ("second_backward", "state")}
HUGE = 10**5000


def doing(act: Callable[[], object], rule: Callable[[Tensor, Tensor], Any] = twice) -> gl.Op:
    """A rule that does something else first."""

    def does(g: Tensor, x: Tensor) -> Any:
        act()
        return rule(g, x)

    return op(does)


def in_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def left_running() -> None:
    threading.Thread(target=threading.Event().wait, args=(0.05,), daemon=True).start()


class RaisesWhenDeleted:
    def __del__(self) -> None:
        raise RuntimeError("in __del__")


class RaisesInProperty(torch.nn.Module):
    @property
    def weight(self) -> Tensor:
        raise RuntimeError("no weight")

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class Liar(torch.nn.Module):
    """A module whose `parameters` give other tensors each time."""

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        yield torch.nn.Parameter(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


def deep(depth: int) -> Any:
    found: Any = X
    for _ in range(depth):
        found = (found,)
    return found


def recursive(x: Tensor, depth: int) -> Tensor:
    return x * x if depth == 0 else recursive(x, depth - 1)


async def asynchronous(x: Tensor) -> Tensor:
    return x * x


async def asynchronous_rule(g: Tensor, x: Tensor) -> Tensor:
    return 2 * g * x


def generating(x: Tensor) -> Iterator[Tensor]:
    yield x * x


def replacing(name: str, where: Any = torch) -> Callable[[Tensor], Tensor]:
    """A forward that replaces a function of torch while it runs, and puts it back."""

    def forward(x: Tensor) -> Tensor:
        before = getattr(where, name)
        setattr(where, name, lambda *arguments, **keywords: 1 / 0)
        try:
            return x * x
        finally:
            setattr(where, name, before)

    return forward


def fork_and_wait() -> None:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)


def rule_itself(g: Tensor, x: Tensor) -> Any:
    return rule_itself


def past_the_end(x: Tensor) -> Tensor:
    return x.as_strided((4, 3), (3, 1), 10_000) * 1.0


def endless_bool() -> Any:
    class Endless:
        def __bool__(self) -> bool:
            raise RuntimeError("neither")

        def __len__(self) -> int:
            return sys.maxsize

        def __iter__(self) -> Iterator[Any]:
            return iter(())

    return Endless()


def cyclic_garbage() -> None:
    class Node:
        pass

    node = Node()
    node.itself = node  # type: ignore[attr-defined]
    node.raises = RaisesWhenDeleted()  # type: ignore[attr-defined]


def whole_base() -> Tensor:
    return torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def aliasing(g: Tensor, x: Tensor) -> Tensor:
    return x.mul_(2).mul_(g)


def option(value: Any) -> Callable[[], gl.Report]:
    return lambda: gl.check(lambda x, k=None: torch.sin(x), X, options={"k": value}, **QUICK)


leaf = X.clone().requires_grad_()
base = whole_base()
Row = tuple[Callable[[], gl.Report], str]
ROWS: dict[str, Row] = {
    # threads, processes, deletion, exit
    "computes-in-a-thread": (lambda: gl.check(op(lambda g, x: in_a_thread(lambda: 2 * g * x)), X, **QUICK), "pass"),
    "wrong-in-a-thread": (
        lambda: gl.check(op(lambda g, x: in_a_thread(lambda: 3 * g * x)), X, **QUICK), "fail constant-factor",
    ),
    "forward-in-a-thread": (lambda: gl.check(op(forward=lambda x: in_a_thread(lambda: x * x)), X, **QUICK), "pass"),
    "leaves-a-thread": (lambda: gl.check(doing(left_running), X, **QUICK), "pass"),
    "thread-that-raises": (lambda: gl.check(op(lambda g, x: in_a_thread(lambda: 1 / 0)), X, **QUICK), "fail raises"),
    "forks-and-waits": (lambda: gl.check(doing(fork_and_wait), X, **QUICK), "pass"),
    "raises-in-del": (lambda: gl.check(doing(RaisesWhenDeleted), X, **QUICK), "pass"),
    "raises-in-del-of-a-cycle": (lambda: gl.check(doing(lambda: [cyclic_garbage(), gc.collect()]), X, probes=()), "pass"),
    "registers-an-exit-handler": (lambda: gl.check(doing(lambda: atexit.register(len, ())), X, **QUICK), "pass"),
    "collects-garbage": (lambda: gl.check(doing(gc.collect), X, probes=()), "pass"),
    "switches-off-collection": (lambda: gl.check(doing(gc.disable), X, **QUICK), "pass"),
    "sets-the-switch-interval": (lambda: gl.check(doing(lambda: sys.setswitchinterval(0.5)), X, **QUICK), "pass"),
    "keeps-weak-references": (lambda: gl.check(op(lambda g, x: weakref.ref(2 * g * x)() or 2 * g * x), X, **QUICK), "pass"),
    "sets-context-variables": (lambda: gl.check(doing(lambda: contextvars.ContextVar("x").set(1)), X, **QUICK), "pass"),
    # output
    "prints-a-megabyte": (lambda: gl.check(doing(lambda: print("x" * 2**20)), X, probes=()), "pass"),
    "writes-bytes-that-are-no-text": (lambda: gl.check(doing(lambda: os.write(1, b"\xff\x00\x1b[2J")), X, probes=()), "pass"),
    "closes-standard-output": (lambda: gl.check(doing(lambda: setattr(sys, "stdout", None)), X, **QUICK), "pass"),
    "message-of-a-megabyte": (lambda: gl.check(op(lambda g, x: int("x" * 2**20)), X, **QUICK), "fail raises"),
    "warns-in-each-call": (lambda: gl.check(doing(lambda: warnings.warn("again", stacklevel=2)), X, **QUICK), "pass"),
    # recursion and depth
    "recursion-of-500": (lambda: gl.check(op(forward=lambda x: recursive(x, 500)), X, **QUICK), "pass"),
    "gradient-in-nested-lists": (lambda: gl.check(op(lambda g, x: [g, [g]] * 3), X, **QUICK), "fail wrong-shape"),
    "input-nested-5000-deep": (lambda: gl.check(lambda x, k: torch.sin(x), X, deep(5000), **QUICK), "refused"),
    "output-nested-5000-deep": (lambda: gl.check(lambda x: (deep(5000), x * x)[0], X, **QUICK), "refused"),
    "gradient-nested-5000-deep": (lambda: gl.check(op(lambda g, x: deep(5000)), X, **QUICK), "fail wrong-shape"),
    "option-nested-5000-deep": (option(deep(5000)), "refused"),
    # what a function may be instead
    "asynchronous-function": (lambda: gl.check(asynchronous, X, **QUICK), "refused"),
    "asynchronous-forward": (lambda: gl.check(op(forward=asynchronous), X, **QUICK), "refused"),
    "asynchronous-backward": (lambda: gl.check(op(asynchronous_rule), X, **QUICK), "fail wrong-shape"),
    "generator-function": (lambda: gl.check(generating, X, **QUICK), "refused"),
    "backward-returns-itself": (lambda: gl.check(op(rule_itself), X, **QUICK), "fail wrong-shape"),
    "backward-returns-its-module": (lambda: gl.check(op(lambda g, x: torch), X, **QUICK), "fail wrong-shape"),
    "backward-returns-a-type": (lambda: gl.check(op(lambda g, x: Tensor), X, **QUICK), "fail wrong-shape"),
    "backward-returns-an-endless-object": (lambda: gl.check(op(lambda g, x: endless_bool()), X, **QUICK), "fail wrong-shape"),
    "forward-is-a-class": (lambda: gl.check(gl.Op(list, lambda g, y, x: (g,)), X, **QUICK), "fail wrong-shape"),  # type: ignore[arg-type]
    "forward-is-print": (lambda: gl.check(print, X, **QUICK), "refused"),
    "function-is-compile": (lambda: gl.check(builtins.compile, X, **QUICK), "fail raises"),
    # replaced functions
    "replaces-sum": (lambda: gl.check(op(forward=replacing("sum")), X, **QUICK), "pass"),
    "replaces-allclose": (lambda: gl.check(op(forward=replacing("allclose")), X, **QUICK), "pass"),
    "replaces-clone": (lambda: gl.check(op(forward=replacing("clone", Tensor)), X, **QUICK), "pass"),
    # numbers
    "huge-int-option": (option(HUGE), "pass"),
    "huge-int-input": (lambda: gl.check(lambda x, k: torch.sin(x), X, HUGE, **QUICK), "pass"),
    "nan-option": (option(float("nan")), "pass"),
    "infinite-option": (option(float("inf")), "pass"),
    "complex-option": (option(1j), "pass"),
    "bytes-option": (option(b"\xff" * 1000), "pass"),
    "huge-int-gradient": (lambda: gl.check(op(lambda g, x: HUGE), X, **QUICK), "fail wrong-shape"),
    "huge-int-upstream": (lambda: gl.check(op(), X, grad_output=HUGE), "refused"),  # type: ignore[arg-type]
    "huge-seed": (lambda: gl.check(op(), X, seed=HUGE), "refused"),
    "negative-seed": (lambda: gl.check(op(), X, seed=-1, **QUICK), "pass"),
    "fuzz-of-a-huge-count": (lambda: gl.fuzz(op(), real("n d"), max_examples=-HUGE), "refused"),
    "order-of-nan": (lambda: gl.check(op(), X, order=float("nan")), "refused"),  # type: ignore[arg-type]
    "subnormal-input": (lambda: gl.check(op(), X * 5e-324, **QUICK), "pass"),
    # memory of tensors
    "leaf-that-requires-grad": (lambda: gl.check(op(), leaf, **QUICK), "pass"),
    "view-of-a-leaf": (lambda: gl.check(op(), leaf[1:], **QUICK), "pass"),
    "not-a-leaf": (lambda: gl.check(op(), leaf * 2, **QUICK), "pass"),
    "offset-view": (lambda: gl.check(op(), base[7:11], **QUICK), "pass"),
    "expanded-input": (lambda: gl.check(op(), X[:1].expand(4, 3), **QUICK), "pass"),
    "overlapping-windows": (lambda: gl.check(op(), base.view(-1).unfold(0, 4, 1), **QUICK), "pass"),
    "zero-strides-only": (lambda: gl.check(op(), torch.tensor(2.0).double().expand(3, 3), **QUICK), "pass"),
    "reads-past-its-storage": (lambda: gl.check(op(forward=past_the_end), X, **QUICK), "fail raises"),
    "gradient-is-the-input": (lambda: gl.check(op(lambda g, x: x), X), "fail upstream-ignored"),
    "gradient-written-into-the-input": (lambda: gl.check(op(aliasing), X, **QUICK), "fail mutates-input"),
    "gradient-is-the-upstream": (lambda: gl.check(op(lambda g, x: g, lambda x: x * 1), X, **QUICK), "pass"),
    "gradient-is-expanded": (lambda: gl.check(op(lambda g, x: g.expand_as(x), lambda x: x.sum()), X, **QUICK), "pass"),
    "gradient-shares-memory-with-numpy": (
        lambda: gl.check(op(lambda g, x: torch.from_numpy(np.asarray(2 * g * x))), X, **QUICK), "pass",
    ),
    "input-twice": (lambda: gl.check(lambda a, b: a * b, X, X, **QUICK), "pass"),
    "module-that-lies": (lambda: gl.check(Liar(), X, **QUICK), "pass"),
    "module-whose-property-raises": (lambda: gl.check(RaisesInProperty(), X, **QUICK), "pass"),
    "layer-that-keeps-all-calls": (lambda: gl.check(FORMS["layer"](twice, square), X, **QUICK), "pass"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", ROWS)
def test_outcome_of_a_further_row(name: str) -> None:
    call, wanted = ROWS[name]
    before = state()
    assert outcome(call) == wanted
    after = state()
    assert {part for part in before if before[part] != after[part]} == set()


def test_there_are_sixty_rows() -> None:
    assert len(ROWS) >= 60


def test_interrupt_within_fuzz_shows_what_is_known() -> None:
    calls = [0]

    def interrupt() -> None:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt

    report = gl.fuzz(doing(interrupt), real("n d"), max_examples=50)
    assert report.verdict == "inconclusive"
    assert report.reasons[-1].startswith("interrupted after ")
