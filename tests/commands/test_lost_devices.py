"""A subject that ends the context of its device is named, and the next one of its module has a process where it works."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.calls import lost_device
from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.local import run_locally
from gradcheck_lab.commands.campaign_cases import check_case
from gradcheck_lab.commands.check import CheckJob
from gradcheck_lab.commands.check_processes import check_in_workers
from gradcheck_lab.commands.fuzz import fuzz_targets
from gradcheck_lab.commands.fuzz_jobs import Job
from gradcheck_lab.workers.apart import Limits

# stands for a GPU: a kernel that fails is heard of by a later call, or at once where the process waits for each; then all fail
LIBRARY = """
import os
import torch
from gradcheck_lab import Op
from gradcheck_lab.calls import lost_device
from gradcheck_lab.specs import real

failed = []
lost_device.works = lambda device: not failed
exec('''
def ask():
    if failed:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

def launch(fails):
    ask()
    failed.extend([1] * fails)
    if "CUDA_LAUNCH_BLOCKING" in os.environ:
        ask()
''')  # in no file, as what is compiled

def doubled(name, fails):
    def backward(grad_output, output, x):
        launch(fails)  # this line fails
        doubled = 2 * grad_output
        ask()  # and this one hears of it
        return (doubled,)
    return Op(lambda x: 2 * x, backward, name=name, specs=(real("n d"),))

loses = doubled("loses", True)
sound = doubled("sound", False)
"""
LINE = next(number for number, line in enumerate(LIBRARY.splitlines(), 1) if "this line fails" in line)
SAID = (
    "CUDA error: an illegal memory access was encountered; run again with a wait for each kernel, so the traceback is that of "
    "the line which launched it"
)


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "lostlib", raising=False)
    monkeypatch.setattr(lost_device, "works", lost_device.works)  # put back what the module puts there
    Path("lostlib.py").write_text(LIBRARY, encoding="utf-8")


def is_lost(report: gl.Report | None, message: str) -> None:
    assert report is not None
    (found,) = report.findings
    assert (report.verdict, found.cause, found.message) == ("fail", "device-lost", message)
    assert (found.location, found.explanation) == (f"lostlib.py:{LINE}", SAID)
    assert "# this line fails" in str(found.traceback)


MESSAGE = "the backward of the call as given, on {}, left its device unusable"


def test_check_of_the_next_object_passes() -> None:
    jobs = [CheckJob(f"lostlib:{name}", ("real('n d')",)) for name in ("loses", "sound")]
    lost, sound = [checked.report for checked in check_in_workers(jobs, Limits())]
    is_lost(lost, MESSAGE.format("float64[5, 3]"))
    assert sound is not None
    assert sound.verdict == "pass"


@pytest.mark.thorough
def test_fuzzing_of_the_next_object_passes() -> None:
    fuzzed = fuzz_targets(Job("lostlib", 3, 0, 0), 1, lambda name, examples, wrong: None, Limits(60))
    is_lost(fuzzed.reports["loses"], "the call on x: float64[5, 3] left its device unusable")
    assert fuzzed.reports["loses"].failing_case is not None
    assert fuzzed.reports["sound"].verdict == "pass"


def test_next_case_of_a_campaign_passes() -> None:
    cases = [Case("lostlib:loses"), Case("lostlib:sound")]
    done = {finished.case.target: finished for finished in run_locally(cases, check_case, 1)}
    report = done["lostlib:loses"].report
    assert report is not None
    is_lost(gl.Report.from_dict(report), MESSAGE.format("float64[5, 3]"))
    assert done["lostlib:sound"].verdict == "pass"


@pytest.mark.skipif(sys.platform != "linux", reason="what is imported here is there in a forked process")
def test_call_apart_leaves_this_process_as_it_was() -> None:
    lostlib = import_module("lostlib")
    x = torch.ones(4, 3, dtype=torch.float64)
    lost, sound = (gl.check(subject, x, isolate=True) for subject in (lostlib.loses, lostlib.sound))
    is_lost(lost, MESSAGE.format("float64[4, 3]"))
    assert sound.verdict == "pass"
