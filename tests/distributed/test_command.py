"""`gradcheck-lab check --world`: what it prints, its exit codes, and every misuse with its whole message."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gradcheck_lab import Report
from tests.command_line import exit_code

LIBRARY = """
import torch
from torch import distributed

__gradcheck_specs__ = {"reduce": "real('n')"}

class Reduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.clone()
        distributed.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        return 2 * grad_output

reduce = Reduce.apply

def row(x, w):
    return Reduce.apply(x @ w.T)

def whole(x, w):
    return x @ w.T

def same(x):
    return x * 1
"""
ROW = ("tensor_parallel:row", "--world", "2", "--spec", "real('n d')", "--spec", "real('m d')")


@pytest.fixture(autouse=True)
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensor_parallel.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delitem(sys.modules, "tensor_parallel", raising=False)


def test_wrong_function_is_told_with_the_command_that_runs_it_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    placements = ("--placement", "x=shard:1", "--placement", "w=shard:1", "--reference", "tensor_parallel:whole")
    path = tmp_path / "report.json"
    assert exit_code("check", *ROW, *placements, "--seed", "3", "--timeout", "60", "--json", str(path)) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "row: gradient of input 0 'x' is wrong in 24 of 24 elements, on ranks 0 and 1"
    assert printed[2].startswith("  cause: reduced-twice - it is 2 times the true one, and 2 is the number of ranks")
    reproduce = next(line for line in printed if "reproduce" in line)
    assert reproduce.startswith("  reproduce: gradcheck-lab check tensor_parallel:row --seed 3 --spec ")
    assert reproduce.endswith(
        " --world 2 --placement x=shard:1 --placement w=shard:1 --reference tensor_parallel:whole --timeout 60"
    )
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert (report.verdict, report.kind) == ("fail", "distributed")


def test_specs_of_the_module_and_an_allowed_cause(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--placement", "x=partial", "--reference", "tensor_parallel:same", "--allow", "reduced-twice")
    assert exit_code("check", "tensor_parallel:reduce", "--world", "2", *words) == 0
    assert "note: gradient of input 0 'x' is wrong in 4 of 4 elements: reduced-twice" in capsys.readouterr().out


MISUSES = {
    "placement-without-ranks": (
        ("tensor_parallel:row", "--placement", "x=partial"),
        "--placement is for several ranks; add --world 2",
    ),
    "reference-and-placement-without-ranks": (
        ("tensor_parallel:row", "--placement", "x=partial", "--reference", "tensor_parallel:whole"),
        "--placement and --reference are for several ranks; add --world 2",
    ),
    "a-module": (("tensor_parallel", "--world", "2"), "--world checks one function; write it as tensor_parallel:name"),
    "of-one-process": (
        (*ROW, "--dtype", "float32", "--order", "2"),
        "--dtype and --order are not for --world; leave it out",
    ),
    "limits-of-one-process": ((*ROW, "--memory-limit", "100"), "--memory-limit is not for --world; leave it out"),
    "unreadable-placement": (
        (*ROW, "--placement", "x"),
        "the placement 'x' cannot be read; write it as x=shard:0, w=replicate or output=partial",
    ),
    "placed-twice": (
        (*ROW, "--placement", "x=partial", "--placement", "x=shard:0"),
        "'x' is placed twice, as partial and as shard:0; leave one out",
    ),
    "unknown-placement": (
        (*ROW, "--placement", "output=cut"),
        "the placement of output is 'cut'; pass gl.Replicate(), gl.Shard(0) or gl.Partial(), or their text 'replicate', "
        "'shard:0', 'partial'",
    ),
    "unknown-input": (
        (*ROW, "--placement", "q=partial"),
        "placement names 'q', which is no input of row; its inputs are x, w, and 'output'",
    ),
    "no-specs": (
        ("tensor_parallel:whole", "--world", "2"),
        "tensor_parallel:whole has no specs to draw its inputs from; give one per input, such as --spec \"real('n d')\" "
        "--spec \"labels('n', classes='d')\"",
    ),
    "no-reference": (
        (*ROW, "--reference", "tensor_parallel:other"),
        "the module 'tensor_parallel' has no 'other'; it has Reduce, row, same, whole",
    ),
    "no-ranks": (
        ("tensor_parallel:row", "--world", "0", "--spec", "real('n')"),
        "world_size is 0; pass a whole number of ranks from 1 to 64",
    ),
}


@pytest.mark.parametrize(("words", "message"), MISUSES.values(), ids=list(MISUSES))
def test_misuse_exits_with_one_line(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", *words) == 2
    printed = capsys.readouterr()
    assert printed.err == f"error: {message}\n"
    assert printed.out == ""
