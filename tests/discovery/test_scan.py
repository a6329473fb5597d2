"""`gradcheck-lab check` of a whole module, and of a name of every form in it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck_lab import Report
from gradcheck_lab.commands import check as checking
from gradcheck_lab.discovery.description import read_specs
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Scan
from tests.command_line import exit_code

FORMS = """
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.ops import relu
from gradcheck_lab.specs import real

cube = gl.Op(lambda x: x**3, lambda grad_output, output, x: (3 * x * x * grad_output,), name="cube")
pair = (torch.sin, lambda grad_output, output, x: (grad_output * x.cos(),))

class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Annotated[Tensor, real("n d")]) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return 2 * grad_output

class Wrong(Double):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return 8 * grad_output

class Bare(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output

double = Double.apply

@torch.library.custom_op("gradcheck_lab_forms::halve", mutates_args=())
def halve(x: Tensor) -> Tensor:
    return x / 2

halve.register_autograd(lambda ctx, grad_output: grad_output / 2)

class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return double(self.fc(x))

class Wide(Small):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, width)

class Deep(Wide):
    pass

wide = Wide(4)

class Sigmoid:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout):
        return dout * self.out * (1 - self.out)

class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout):
        self.dW = np.dot(self.x.T, dout)
        self.db = dout.sum(axis=0)
        return np.dot(dout, self.W.T)

affine = Affine(np.arange(6.0).reshape(3, 2) - 2, np.ones(2))

def function(x: Tensor, *, scale: float = 1.0) -> Tensor:
    return double(x) * scale

def program(x: Tensor) -> Tensor:
    return relu(x)

__gradcheck_specs__ = {
    "pair": "real('n')",
    "halve": ("real('n d')",),
    "Small": real("n 3"),
    "Wide": "real('n 3')",
    "Sigmoid": "real('n d')",
    "affine": "real('n 3')",
    "program": "real('n d')",
    "absent": "real('n')",
}
"""


@pytest.fixture
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current directory with a module of every form, one that defines nothing and one that describes nothing."""
    files = {
        "forms.py": FORMS,
        "empty.py": "from gradcheck_lab.ops import relu",
        "vague.py": "import gradcheck_lab as gl\nvague = gl.Op(lambda x: x, lambda g, y, x: g)",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NO_COLOR", "1")


TABLE = "object   verdict      gradients     inputs  backward"
FORM_SPECS = {
    "cube": ["real('n d')"],
    "pair": [],
    "Double": [],
    "double": ["real('n d')"],
    "Bare": ["real('n d')"],
    "halve": [],
    "Small": [],
    "wide": [],
    "Sigmoid": [],
    "affine": [],
    "function": ["real('n d')", "--option", "scale=3.0"],
    "program": [],
}


@pytest.mark.usefixtures("forms")
@pytest.mark.parametrize(("name", "more"), FORM_SPECS.items(), ids=FORM_SPECS)
def test_check_takes_every_form(name: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", f"forms:{name}", *(["--spec", *more] if more else [])) == 0
    assert ": pass - " in capsys.readouterr().out


@pytest.mark.usefixtures("forms")
def test_check_of_a_module_checks_what_it_defines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.json"
    assert exit_code("check", "forms", "--seed", "7", "--json", str(path)) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    table = {line.split()[0]: line.split()[1] for line in lines[lines.index(TABLE) + 1 : -5]}
    passed = ["pair", "Double", "halve", "Small", "wide", "Sigmoid", "affine", "program"]
    assert [name for name, verdict in table.items() if verdict == "pass"] == passed
    assert [name for name, verdict in table.items() if verdict == "fail"] == ["Wrong"]
    assert [name for name, verdict in table.items() if verdict == "not"] == ["cube", "Bare", "Deep", "absent"]
    assert "Wrong    fail         1 of 1 wrong  specs   forms.py:27" in lines
    assert "affine   pass         3             specs   forms.py:81" in lines
    wrong = lines.index("Wrong: gradient of input 0 'x' is wrong in 15 of 15 elements")
    assert lines[wrong + 2].startswith("  cause: constant-factor - it is 4 times the reference")
    assert lines[wrong + 4] == "  backward: forms.py:27"
    assert lines[wrong + 5] == "  reproduce: gradcheck-lab check forms:Wrong --seed 7"
    assert lines[-5:] == [
        "not checked: cube - nothing describes its inputs; add __gradcheck_specs__ = {'cube': \"real('n d')\"} to the module",
        "not checked: Bare - nothing describes its inputs; add __gradcheck_specs__ = {'Bare': \"real('n d')\"} to the module",
        "not checked: Deep - its constructor needs width; make one in the module, such as deep = Deep(...)",
        "not checked: absent - the module 'forms' has no 'absent'; it has Affine, Bare, Deep, Double, Sigmoid, Small, "
        "Wide, Wrong, affine, cube, function, program, wide",
        "forms: 9 checked (8 pass, 1 fail); not checked: cube, Bare, Deep, absent (--strict makes that exit 3)",
    ]
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["module"], data["verdict"], len(data["reports"]), len(data["skipped"])) == ("forms", "fail", 9, 4)
    assert Report.from_dict(data["reports"]["Wrong"]).verdict == "fail"


def test_check_of_a_module_whose_ops_are_right_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "gradcheck_lab.ops.linear") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("gradcheck_lab.ops.linear: ")


@pytest.mark.usefixtures("forms")
def test_check_of_a_module_where_nothing_can_be_checked_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", "vague") == 2
    assert capsys.readouterr().out.splitlines()[2:] == [
        "not checked: vague - nothing describes its inputs; add __gradcheck_specs__ = {'vague': \"real('n d')\"} to the module",
        "vague: nothing could be checked",
    ]


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [(["pass", "fail", "inconclusive"], "fail"), (["pass", "inconclusive"], "inconclusive"), (["pass"], "pass")],
)
def test_the_verdict_of_a_scan_is_the_worst(verdicts: list[str], worst: str) -> None:
    found = checking.check_target("gradcheck_lab.ops:relu")
    scan = Scan("m", {str(i): replace(found, verdict=verdict) for i, verdict in enumerate(verdicts)}, {})  # type: ignore[arg-type]
    assert scan.verdict == worst


@pytest.mark.parametrize("written", [3, {"x": "real('n')"}, ("real('n')", 3)])
def test_specs_that_cannot_be_read_say_so(written: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_specs(written, "__gradcheck_specs__['f'] of m")
    assert str(caught.value) == (
        f"__gradcheck_specs__['f'] of m is {written!r}; write one spec per input, such as \"real('n d'), real('d')\""
    )


MISUSES = {
    "scan-with-specs": (
        ["forms", "--spec", "real('n d')"],
        "--spec, --option, --allow, --order, --wrt, --suggest and --diff are for one object; write it as forms:name",
    ),
    "scan-of-nothing": (
        ["empty"],
        "the module 'empty' defines no op, autograd Function, custom op, layer or module; it has nothing to check",
    ),
    "scan-of-an-unknown-dtype": (
        ["empty", "--dtype", "float8"],
        "there is no dtype 'float8' to check in; pass one of float64, float32, bfloat16, float16",
    ),
    "scan-of-an-unknown-module": (["form"], "there is no module 'form'; the current directory has empty, forms, vague"),
    "class-with-arguments": (
        ["forms:Wide", "--spec", "real('n 3')"],
        "forms:Wide cannot be checked: its constructor needs width; make one in the module, such as wide = Wide(...)",
    ),
}


@pytest.mark.usefixtures("forms")
@pytest.mark.parametrize(("arguments", "message"), MISUSES.values(), ids=MISUSES)
def test_a_misused_check_says_so_in_one_line_and_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("check", *arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
