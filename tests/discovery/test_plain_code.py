"""Expressions of others are evaluated where they only compute."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_lab.discovery.plain_code import NotPlain, evaluate

SOURCE = """
import os
import numpy as np
import torch
from numpy import array

def doubled(x):
    return 2 * x

def quadrupled(x):
    return doubled(doubled(x))

def removed(x):
    os.remove("kept")
    return x

def hidden(x):
    return [removed(each) for each in x]

class Holder:
    def __init__(self, value):
        self.value = value
    def get(self):
        return self.value
    def write(self):
        open("written", "w")

class Opener:
    def __init__(self):
        open("written", "w")
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    Path("kept").touch()
    found = ModuleType("plainly")
    monkeypatch.setitem(sys.modules, "plainly", found)
    exec(SOURCE, found.__dict__)
    return found


def value_of(text: str, module: ModuleType) -> Any:
    *before, last = ast.parse(text).body
    assert isinstance(last, ast.Expr)
    return evaluate([last.value], before, vars(module), module.__name__)[0]


TAKEN = {
    "3 + 4": 7,
    "np.arange(6.0).reshape(2, 3).sum()": 15.0,
    "array([1.0, 2.0]).max()": 2.0,
    "n, d = 2, 3\nnp.ones((n, d)).size": 6,
    "x = np.zeros(3)\nx[1] = 4.0\nx += 1\nx.sum()": 7.0,
    "torch.ones(2, 3).double().sum().item()": 6.0,
    "import math\nmath.sqrt(4.0)": 2.0,
    "from math import sqrt as root\nroot(9.0)": 3.0,
    "quadrupled(3)": 12,
    "Holder(3).get()": 3,
    "rng = np.random.default_rng(0)\nrng.normal(size=3).shape": (3,),
    "torch.nn.functional.relu(torch.tensor(-1.0)).item()": 0.0,
    "[k * 2 for k in range(3)]": [0, 2, 4],
    "unused = open('kept').read()\nlen([1, 2])": 2,
}


@pytest.mark.parametrize("text", TAKEN)
def test_what_only_computes_is_evaluated(text: str, module: ModuleType) -> None:
    assert value_of(text, module) == TAKEN[text]


REFUSED = {
    "open('written', 'w')": "calls open",
    "print(3)": "calls print",
    "x = open('kept').read()\nlen(x)": "calls open",
    "np.load('kept')": "calls load",
    "np.ones(3).tofile('written')": "calls tofile",
    "os.remove('kept')": "calls remove",
    "os.getcwd()": "calls getcwd of os",
    "removed(3)": "calls removed",
    "hidden([3])": "calls hidden",
    "Opener()": "calls Opener",
    "Holder(3).write()": "calls write",
    "eval('3')": "calls eval",
    "().__class__": "reads __class__",
    "getattr(np, 'save')('written', 3)": "calls getattr",
    "__import__('os').remove('kept')": "calls __import__",
    "f = open\nf('written', 'w')": "calls open",
    "absent + 1": "raised NameError: name 'absent' is not defined",
    "np.ones(3).reshape(2, 2)": "raised ValueError: cannot reshape array of size 3 into shape (2,2)",
    "(lambda: open('written', 'w'))()": "calls <lambda>",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_does_more_is_refused(text: str, module: ModuleType) -> None:
    with pytest.raises(NotPlain) as caught:
        value_of(text, module)
    assert str(caught.value) == REFUSED[text]
    assert Path("kept").exists()
    assert not Path("written").exists()


def test_the_namespace_of_the_module_stays_as_it_was(module: ModuleType) -> None:
    before = dict(vars(module))
    assert value_of("x = 3\nnp = 4\nx + np", module) == 7
    assert vars(module) == before
    assert (np, torch, math) == (np, torch, math)
