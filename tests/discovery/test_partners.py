"""Functions of a module that carry a gradient: which are found, which pair they make; and fuzz and replay take the pair."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gradcheck_lab.discovery.partners import partner_of, subject_at
from gradcheck_lab.discovery.scan import defined
from tests.command_line import exit_code

SOURCE = """
import math
from math import sin

import numpy as np

import gradcheck_lab as gl

def affine_forward(x, w): return x @ w, (x, w)
def affine_backward(dout, cache): return dout @ cache[1].T, 2 * cache[0].T @ dout
def forward(x): return x
def backward(dout): return dout
def act(x): return np.tanh(x)
def act_prime(x): return 1 - np.tanh(x)**2
def f(x): return x
def df(x): return 1 + 0 * x
def softmax_loss(x, y):
    loss, dx = x.sum(), np.ones_like(x)
    return loss, dx
def split(x):
    low, high = x, x
    return low, high
def used(x): return 2 * x
def used_backward(g, y, x): return 2 * g
def paired(x): return 2 * x
def paired_backward(g, y, x): return 2 * g
def sin_prime(x): return math.cos(x)
def lonely_forward(x): return x
grad = 3
op = gl.Op(used, used_backward)
pair = (paired, paired_backward)
__gradcheck_specs__ = {"affine_forward": "real('n d'), real('d m')", "pair": "real('n')"}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "partnered", raising=False)
    Path("partnered.py").write_text(SOURCE, encoding="utf-8")
    return "partnered"


def test_pairs_and_losses_are_found_once(module: str) -> None:
    names = defined(module).names
    assert names == ("affine_forward", "forward", "act", "f", "softmax_loss", "op", "pair")
    space = vars(sys.modules[module])
    partners = {name: partner_of(name, space) for name in ("affine_forward", "forward", "act", "f", "lonely_forward", "sin")}
    assert partners == {
        "affine_forward": "affine_backward",
        "forward": "backward",
        "act": "act_prime",
        "f": "df",
        "lonely_forward": None,
        "sin": None,
    }
    assert subject_at("partnered:act") == (space["act"], space["act_prime"])
    assert subject_at("partnered:softmax_loss") is space["softmax_loss"]


def test_fuzz_and_replay_take_the_pair(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{module}:affine_forward"
    arguments = ("--examples", "5", "--save", "cases", "--json", "fuzz.json")
    assert exit_code("fuzz", target, *arguments) == 1
    report = json.loads(Path("fuzz.json").read_text(encoding="utf-8"))["reports"]["affine_forward"]
    assert [(finding["cause"], finding["gradient"]) for finding in report["findings"]] == [("constant-factor", "w")]
    (case,) = Path("cases").iterdir()
    capsys.readouterr()
    assert exit_code("replay", str(case), target) == 1
    assert "gradient of input 1 'w' is wrong" in capsys.readouterr().out
