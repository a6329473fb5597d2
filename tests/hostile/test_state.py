"""The state of the process, and the user's tensors, are after every call as they were, whatever the user's code does."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.specs import real
from tests.hostile.subjects import X, op, square, twice


def state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    return {
        "default dtype": torch.get_default_dtype(),
        "generators": (torch.get_rng_state().tolist(), random.getstate(), (name, keys.tolist(), *rest)),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "warnings": list(warnings.filters),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "signals": signal.getsignal(signal.SIGTERM),
        "NumPy's errors": np.geterr(),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "logging": (logging.getLogger().level, logging.root.manager.disable, list(logging.getLogger().handlers)),
        "matrix products": torch.get_float32_matmul_precision(),
        "recursion": sys.getrecursionlimit(),
        "garbage": (gc.isenabled(), gc.get_threshold()),
        "switching": sys.getswitchinterval(),
    }


CHANGES: dict[str, Callable[[], Any]] = {
    "default dtype": lambda: torch.set_default_dtype(torch.float16),
    "generators": lambda: (torch.manual_seed(7), random.seed(7), np.random.seed(7)),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "default device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "folder": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(GRADCHECK_LAB_HOSTILE="1", HOME="/"),
    "signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "NumPy's errors": lambda: np.seterr(all="raise"),
    "streams": lambda: setattr(sys, "stdout", None),
    "path": lambda: sys.path.insert(0, "/hostile"),
    "arguments": lambda: sys.argv.append("--hostile"),
    "logging": lambda: logging.basicConfig(level=logging.DEBUG, force=True),
    "matrix products": lambda: torch.set_float32_matmul_precision("medium"),
    "garbage": lambda: (gc.disable(), gc.set_threshold(1)),
    "switching": lambda: sys.setswitchinterval(0.5),
    "recursion": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
}


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Put back what a broken check would leave changed, so that one failure does not make others."""
    with preserved_state(0):
        yield


def changing(what: str, raises: bool) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        CHANGES[what]()
        if raises:
            raise ValueError("after the change")
        return x * x

    return forward


VERBS: dict[str, Callable[[Callable[[Tensor], Tensor]], Any]] = {
    "check": lambda forward: gl.check(op(forward=forward), X, probes=("second_backward",)),
    "fuzz": lambda forward: gl.fuzz(op(forward=forward), real("n d"), max_examples=2),
}


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("what", CHANGES)
def test_state_is_put_back(what: str, verb: str, raises: bool, unchanged: None) -> None:
    before = state()
    with suppress(gl.InvalidArgument):
        VERBS[verb](changing(what, raises))
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.parametrize("what", CHANGES)
def test_the_change_is_one(what: str, unchanged: None) -> None:
    before = state()[what]
    CHANGES[what]()
    assert state()[what] != before


AROUND: dict[str, Callable[[], Any]] = {
    "inference-mode": torch.inference_mode,
    "no-grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "anomaly": lambda: torch.autograd.detect_anomaly(check_nan=False),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("around", AROUND)
def test_what_surrounds_a_call_does_not_change_it(around: str) -> None:
    subjects: dict[str, Any] = {"op": op(), "module": torch.nn.Linear(3, 2), "function": torch.tanh}
    given, probes = X.float(), ("second_backward", "state")
    for name, subject in subjects.items():
        alone = gl.check(subject, given, probes=probes)
        with AROUND[around]():
            within = gl.check(subject, given.clone() if around == "inference-mode" else given, probes=probes)
        assert (alone.verdict, within.verdict) == ("pass", "pass"), (name, within)
        assert within.gradients == alone.gradients


def test_four_threads_leave_the_state_alone() -> None:
    module = torch.nn.Linear(3, 2)
    before = state()
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda seed: gl.check(module, X.float(), seed=seed, probes=()), range(8)))
    assert [report.verdict for report in reports] == ["pass"] * 8
    assert state() == before


def write_past_torch(x: Tensor) -> Tensor:
    y = x * x
    x.data.zero_()
    return y


def write_through_numpy(x: Tensor) -> Tensor:
    y = x.detach() * x.detach()
    x.detach().numpy()[...] = 0
    return y


def write_in_backward(g: Tensor, x: Tensor) -> Tensor:
    right = 2 * g * x
    x.data.zero_()
    g.data.zero_()
    return right


WRITERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "past-torch": lambda x, g: gl.check(op(forward=write_past_torch), x, grad_output=g),
    "numpy": lambda x, g: gl.check(op(forward=write_through_numpy), x, grad_output=g),
    "backward": lambda x, g: gl.check(op(write_in_backward), x, grad_output=g),
    "function": lambda x, g: gl.check(lambda a: write_past_torch(a), x, grad_output=g),
    "reference": lambda x, g: gl.check(op(), x, grad_output=g, reference=write_past_torch),
    "compare-only": lambda x, g: gl.check(op(forward=write_past_torch), x, grad_output=g, probes=()),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("writer", WRITERS)
def test_users_tensors_are_never_handed_out(writer: str, dtype: torch.dtype) -> None:
    x, g = X.to(dtype, copy=True), torch.ones(4, 3, dtype=dtype)
    with suppress(gl.InvalidArgument):
        WRITERS[writer](x, g)
    assert torch.equal(x, X.to(dtype))
    assert bool((g == 1).all())


def test_tensors_in_options_are_never_handed_out() -> None:
    scale, table = torch.ones(3, dtype=torch.float64), np.ones(3)

    def scaled(x: Tensor, scale: Tensor, table: Any) -> Tensor:
        y = x * scale.clone() * float(table[0])
        scale.data.zero_()
        table[...] = 0
        return y

    gl.check(scaled, X, options={"scale": scale, "table": table}, probes=())
    assert bool((scale == 1).all())
    assert bool((table == 1).all())


def test_a_fixed_seed_gives_a_fixed_report() -> None:
    wrong = op(lambda g, x: 3 * g * x)
    texts = set()
    for _ in range(2):
        torch.rand(3)
        report = gl.check(wrong, X, seed=5)
        texts.add(str({**report.to_dict(), "seconds": 0}))
    assert len(texts) == 1
    assert gl.check(op(twice, square), X, seed=5).verdict == "pass"


def test_a_folder_that_is_gone_does_not_matter(tmp_path: Path, unchanged: None) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert gl.check(op(), X, probes=()).verdict == "pass"
