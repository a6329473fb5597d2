"""torch's own databases: some quick operators for everybody, and a tenth that the commit draws in the thorough lane."""

from __future__ import annotations

import queue
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import gradcheck_lab as gl
from benchmarks import torch_databases
from benchmarks.torch_databases import ROOT, drawn, reason_for, table
from tests.lanes import seed_of

# what once died, was flagged or was left open: scaled sums in complex128, kernels in 16 bits, the rest in float64
QUICK = {
    "complex128": "addmm addmv addbmm baddbmm addr addcmul addcdiv ldexp index_add",
    "bfloat16": "half bfloat16 clone neg sin atanh log1p erfinv ceil logsumexp nansum normal nn.functional.rrelu "
    "nn.functional.dropout torch.ops.aten._safe_softmax.default nn.functional.soft_margin_loss",
    "float64": "native_layer_norm native_batch_norm linalg.lstsq linalg.pinv logcumsumexp nn.functional.cosine_embedding_loss",
}


@pytest.mark.thorough
def test_quick_operators_of_torch_pass() -> None:
    pytest.importorskip("expecttest", reason="torch's operator database needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from benchmarks.torch_samples import OPERATORS, calls, tasks

        chosen = [task for task in tasks(databases=(OPERATORS,)) if task.name in QUICK.get(task.dtype, "").split()]
        assert len(chosen) == sum(len(names.split()) for names in QUICK.values())
        open_ = []
        for task in chosen:
            for _, call in calls(task, 1):
                report = gl.check(call.subject, *call.inputs, options=call.options)
                if report.verdict != "pass" and not reason_for({"name": task.name, "dtype": task.dtype}):
                    open_.append(f"{task.key}: {report}")
    assert not open_, "\n".join(open_)


@pytest.mark.thorough
def test_tenth_that_the_commit_draws_has_nothing_flagged_crashed_or_dead(tmp_path: Path) -> None:
    pytest.importorskip("expecttest", reason="torch's operator database needs it")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    seed = int(commit[:12], 16) if commit else seed_of(0)
    results = tmp_path / "rows.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks" / "torch_databases.py"), "--tenth", str(seed), "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_databases_are_planned_and_checked_as_a_campaign() -> None:
    pytest.importorskip("expecttest", reason="torch's operator database needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from benchmarks.torch_campaign import check_sample, planned

        cases = {case.name: case for case in planned(("float64",), ("op_db",), None, 60.0)}
        assert len(cases) > 400
        sound, exception = (check_sample(cases[f"op_db:{name} float64"]) for name in ("sin", "as_strided_scatter"))
    assert sound.report is not None
    assert (sound.report.verdict, exception.report) == ("pass", None)
    assert exception.why.startswith("an exception: ")


def test_a_tenth_is_about_a_tenth_and_another_seed_draws_another() -> None:
    names = [f"operator_{k}" for k in range(1000)]
    first, second = ({name for name in names if drawn(name, seed)} for seed in (1, 2))
    assert 60 < len(first) < 140
    assert first != second


DYING = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    for number in range(3):
        if number not in asked["done"]:
            print(json.dumps({"sample": number}), flush=True)
            if number == 1:
                os.kill(os.getpid(), 9)
            print(json.dumps({**asked["task"], "sample": number, "outcome": "pass", "findings": []}), flush=True)
    print("{}", flush=True)
"""


def test_process_that_dies_is_started_anew_behind_the_sample_that_killed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    monkeypatch.setattr(torch_databases, "CHILD", script)
    tasks: queue.SimpleQueue[torch_databases.Row] = queue.SimpleQueue()
    found: queue.SimpleQueue[torch_databases.Row | None] = queue.SimpleQueue()
    tasks.put({"task": {"database": "op_db", "name": "sin", "dtype": "float64"}, "done": [], "samples": 3, "gradcheck": False})
    torch_databases.work(tasks, found, timeout=60)
    rows = [row for row in iter(found.get, None) if row is not None]
    assert [(row["sample"], row["outcome"]) for row in rows] == [(0, "pass"), (1, "died"), (2, "pass")]
    assert rows[1]["text"] == "signal 9"


def test_table_counts_outcomes_and_gives_exceptions_their_reason() -> None:
    row = {"database": "op_db", "dtype": "float64", "sample": 0, "findings": [], "seconds": 1.0, "text": "why"}
    shown = table([
        {**row, "name": "sin", "outcome": "pass"},
        {**row, "name": "cos", "outcome": "inconclusive"},
        {**row, "name": "as_strided", "outcome": "fail"},
    ])  # fmt: skip
    assert "inconclusive cos float64 0: why" in shown
    assert "fail         as_strided float64 0: reads the storage of its input by position" in shown
    assert "1 open:" in shown
    assert "1 exceptions, with their reasons:" in shown


def test_wrong_gradient_of_such_an_operator_is_flagged() -> None:
    def spoiled(x: torch.Tensor) -> torch.Tensor:
        value = x.clone()
        if value.requires_grad:
            value.register_hook(lambda grad: grad * 1.0001)
        return torch.addmm(torch.ones(2, 2, dtype=x.dtype), value, torch.ones(3, 2, dtype=x.dtype), beta=0.2, alpha=0.6)

    for dtype in (torch.float64, torch.complex128):
        assert gl.check(spoiled, torch.randn(2, 3, dtype=dtype)).verdict == "fail"
