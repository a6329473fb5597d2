"""Settings that every test shares."""

import gc
import os

import pytest
import torch

import gradcheck_lab.probes.support.running
from tests import lanes

# The tensors are small, xdist's workers share the cores, and one thread means one order of summation.
torch.set_num_threads(1)


os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: its kernels run on the CPU here

gradcheck_lab.probes.support.running.STRICT = True  # a defect of a probe fails its test


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    lanes.enter(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lanes.mark(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # thousands of tests and modules live to the end: the garbage collector need not look at them, nor so often at what is new
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_unconfigure() -> None:
    gc.unfreeze()  # triton's library complains of what is not collected


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if line := lanes.how_to_repeat():
        terminalreporter.write_line(line)
