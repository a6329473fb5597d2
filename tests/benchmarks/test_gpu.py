"""The benchmark of accelerators runs on the CPU as well, and says where there is no accelerator."""

from __future__ import annotations

import pytest
import torch

import gradcheck_lab as gl
from benchmarks import gpu
from benchmarks.gpu import NONE, Measured, main
from gradcheck_lab import ops

CPU = torch.device("cpu")


def test_without_an_accelerator_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    assert main([]) == 0
    assert capsys.readouterr().out == f"{NONE}\n"


def test_device_that_is_not_here_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--device", "cuda:99"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: there is no cuda:99 here\n")


def test_ops_have_the_same_verdict_on_the_device() -> None:
    wrong = gl.Op(ops.tanh.forward, lambda g, y, x: (2 * g,), name="tanh", specs=ops.tanh.specs)
    table = gpu.verdicts(CPU, 400, (), (ops.linear, wrong, ops.embedding))
    assert [row[:3] for row in table.rows] == [("tanh", "fail", "fail"), ("3 ops", "", "2 pass on both")]


def test_kernels_are_told_by_their_mistakes() -> None:
    table = gpu.kernel_verdicts(CPU, 1)
    if table is None:
        pytest.skip("needs triton: pip install 'gradcheck_lab[triton]'")
    assert {row[2] for row in table.rows if row[1] == "none"} == {"pass"}
    assert "fail" in {row[2] for row in table.rows if row[1] != "none"}


def test_one_comparison_waits_for_few_numbers() -> None:
    rows = dict(gpu.reads(CPU, 1000).rows)
    assert 0 < rows["one gradient, right"] <= rows["one gradient, twice"]


@pytest.mark.parametrize("measure", [gpu.memory, gpu.times])
def test_ratios_are_of_every_call(measure: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RUNS", 1)
    rows = measure(CPU, (1000,)).rows  # type: ignore[operator]
    assert [row[0] for row in rows] == [*gpu.calls(1000, CPU)]
    assert all(float(row[-1]) > 0 for row in rows)


def test_order_that_is_fixed_leaves_no_difference() -> None:
    assert [row[:3] for row in gpu.atomics(CPU, 1000).rows] == [("float32", "0.0e+00", "pass"), ("float16", "0.0e+00", "pass")]


def test_products_leave_the_settings_as_they_were() -> None:
    before = gpu.settings()
    table = gpu.products(CPU, 32)
    assert table.rows[0] == ("ieee", "pass", "")
    assert table.rows[1][0] == "tf32"
    assert gpu.settings() == before


def test_table_is_markdown() -> None:
    assert str(Measured("Title", ("a", "b"), ((1, "x"),))) == "## Title\n\n| a | b |\n| --- | --- |\n| 1 | x |\n"


@pytest.mark.thorough
def test_all_of_it_runs_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--quick"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n## ") in (6, 7)  # without Triton one less
