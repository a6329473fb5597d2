"""Inputs that a file itself tells: by calls of its author, by docstrings; what only computes is evaluated, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import exit_code

NUMPY = '''
"""Layers by hand.

>>> relu_forward(np.array([[-1.0, 2.0]]))[0]
array([[0., 2.]])
"""
import numpy as np


def affine_forward(x, w, b):
    """
    - x: Input data, of shape (N, d_1, ..., d_k)
    - w: Weights, of shape (D, M)
    - b: Biases, of shape (M,)
    """
    return x.reshape(x.shape[0], -1).dot(w) + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    return dout.dot(w.T).reshape(x.shape), x.reshape(x.shape[0], -1).T.dot(dout), dout.sum(0)


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    return 2 * dout * (cache > 0)


def conv_forward(x, w, param):
    """x: (N, C)
    w: (C, D)"""
    return x @ w * param["scale"], (x, w, param)


def conv_backward(dout, cache):
    x, w, param = cache
    return dout @ w.T * param["scale"], x.T @ dout * param["scale"]


def mean_loss(x, y):
    """- x: of shape (N, C)
    - y: labels, of shape (N,), 0 <= y[i] < C"""
    loss = -x[np.arange(len(y)), y].mean()
    dx = np.zeros_like(x)
    dx[np.arange(len(y)), y] = -1 / len(y)
    return loss, dx


class Dense:
    def __init__(self, n, m, scale=1.0):
        self.W, self.b = scale * np.random.randn(n, m), np.zeros(m)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T


def cube(x):
    return x**3


def cube_prime(x):
    return 3 * x**2


def shifted_forward(x, shift):
    """x: (2 * N, 3)
    shift: of shape (4,)"""
    return x + shift, None


def shifted_backward(dout, cache):
    return dout, dout.sum(0)


class Mul:
    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def backward(self, dout):
        return dout * self.y, dout * self.x


mul = Mul()


def written_forward(x):
    return np.sin(x), x


def written_backward(dout, cache):
    return dout * np.cos(cache)


def helper(n):
    return np.linspace(-1.0, 1.0, n)


def noisy(n):
    open("written", "w").close()
    return helper(n)


def main():
    out, cache = affine_forward(np.ones((1, 2)), np.ones((2, 1)), np.ones(1))


if __name__ == "__main__":
    np.random.seed(0)
    data = open("data.txt").read()
    N, D = 4, 3
    x = np.random.randn(N, D)
    x[0] += 1.0
    for k in range(2):
        layer = Dense(D, 2, scale=0.1)
        print(layer.forward(x))
        conv_forward(x, layer.W, {"scale": len(data)})
    with open("written", "w") as file:
        conv_forward(x, w=np.ones((D, 2)), param=dict(scale=2.0))
    print(cube(helper(5)))
    print(mul.forward(np.array([100, 200]), np.array([2, 3])))
    written_forward(noisy(3))
    main()
'''
TORCH = '''
import torch
from torch.autograd import Function

import gradcheck_lab as gl


class Square(Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        return x**power

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.power * grad_output * ctx.saved_tensors[0] ** (ctx.power - 1), None


class Twice(Function):
    """Doubles.

    >>> import torch
    >>> rows = 3
    >>> x = torch.randn(rows, 2, dtype=torch.float32)
    >>> Twice.apply(x)
    """

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad_output):
        return 3 * grad_output


class Small(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Linear(3, width)

    def forward(self, x):
        return square(self.inner(x), 2)


square = Square.apply
half = gl.Op(lambda x: x / 2, lambda grad_output, output, x: (grad_output / 2,), name="half")

if __name__ == "__main__":
    x = torch.randn(5, 3, requires_grad=True)
    y = square(x, 2)
    print(Small(4)(torch.randn(2, 3)).sum())
    gl.check(half, torch.ones(3), seed=1)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, text in (("by_hand", NUMPY), ("functions", TORCH)):
        Path(f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("data.txt").write_text("123", encoding="utf-8")
    return tmp_path


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def scanned(target: str, *more: str) -> dict[str, Any]:
    exit_code("check", target, "--json", "scan.json", *more)
    found: dict[str, Any] = json.loads(Path("scan.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.usefixtures("folder")
def test_a_file_tells_its_own_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    data = scanned("by_hand.py")
    found = {name: (r["verdict"], r["inputs"], [g["shape"] for g in r["gradients"]]) for name, r in data["reports"].items()}
    assert found == {
        "affine_forward": ("pass", f"the call in line {line_of(NUMPY, 'out, cache = affine')}", [[1, 2], [2, 1], [1]]),
        "relu_forward": ("fail", "the call in the doctest of by_hand", [[1, 2]]),
        "conv_forward": ("pass", f"the call in line {line_of(NUMPY, 'param=dict')}", [[4, 3], [3, 2]]),
        "mean_loss": ("pass", "the shapes in its docstring", [[5, 3]]),
        "Dense": ("pass", f"the call in line {line_of(NUMPY, 'layer.forward(x)')}", [[4, 3], [3, 2], [2]]),
        "cube": ("pass", f"the call in line {line_of(NUMPY, 'cube(helper')}", [[5]]),
        "mul": ("pass", f"the call in line {line_of(NUMPY, 'mul.forward(')}", [[2], [2]]),
    }
    guess = "on [10, 3], [4], as its docstring reads, its forward raised ValueError"
    add = "nothing describes its inputs; add __gradcheck_specs__ = {{{!r}: \"real('n d')\"}} to the module"
    line = line_of(NUMPY, "written_forward(noisy")
    assert data["skipped"] == {
        "shifted_forward": f"{add.format('shifted_forward')}; {guess}",
        "written_forward": f"{add.format('written_forward')}; the call in line {line} calls noisy",
    }
    assert not Path("written").exists()
    out = capsys.readouterr().out
    assert "  inputs: the call in the doctest of by_hand\n" in out
    assert "relu_forward     fail         1 of 1 wrong  the call in the doctest of by_hand" in out


@pytest.mark.usefixtures("folder")
def test_functions_modules_and_ops_are_called_as_the_author_does() -> None:
    data = scanned("functions.py")
    found = {name: (r["verdict"], r["inputs"], r["gradients"][0]["dtype"]) for name, r in data["reports"].items()}
    assert found == {
        "Square": ("pass", f"the call in line {line_of(TORCH, 'y = square')}", "float32"),
        "Twice": ("fail", "the call in the doctest of Twice", "float32"),
        "Small": ("pass", f"the call in line {line_of(TORCH, 'print(Small')}", "float32"),
        "half": ("pass", f"the call in line {line_of(TORCH, 'gl.check')}", "float32"),
    }
    assert data["skipped"] == {}


@pytest.mark.usefixtures("folder")
def test_a_dtype_and_specs_go_before_the_authors_call(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code("check", "functions.py:Square", "--dtype", "float64", "--json", "one.json")
    report = json.loads(Path("one.json").read_text(encoding="utf-8"))
    assert (report["inputs"][:8], report["gradients"][0]["dtype"]) == ("the call", "float64")
    assert exit_code("check", "by_hand.py:cube", "--spec", "real('n d')", "--json", "one.json") == 0
    report = json.loads(Path("one.json").read_text(encoding="utf-8"))
    assert (report["inputs"], report["gradients"][0]["shape"]) == ("", [5, 3])


MISUSES = {
    "shapes that do not fit": (
        "by_hand.py:shifted_forward",
        "by_hand.py:shifted_forward has no specs to draw its inputs from; give one per input, such as --spec \"real('n d')\" "
        "--spec \"labels('n', classes='d')\"; on [10, 3], [4], as its docstring reads, its forward raised ValueError",
    ),
    "a call that opens": (
        "by_hand.py:written_forward",
        "by_hand.py:written_forward has no specs to draw its inputs from; give one per input, such as --spec \"real('n d')\" "
        f"--spec \"labels('n', classes='d')\"; the call in line {line_of(NUMPY, 'written_forward(noisy')} calls noisy",
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("target", "message"), MISUSES.values(), ids=MISUSES)
def test_what_cannot_be_taken_is_said(target: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("check", target) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert not Path("written").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("subject", ["(cube, cube_backward)", "gl.Op(cube, cube_backward)", "made"])
def test_a_file_that_checks_its_own_pair_is_checked_so(subject: str) -> None:
    Path("pairs.py").write_text(
        "import torch\nimport gradcheck_lab as gl\n"
        "def cube(x):\n    return x**3\n"
        "def cube_backward(grad_output, output, x):\n    return (grad_output * x**2,)\n"
        f'if __name__ == "__main__":\n    made = gl.Op(cube, cube_backward)\n    gl.check({subject}, torch.ones(2, 3))\n',
        encoding="utf-8",
    )
    (report,) = scanned("pairs.py")["reports"].values()
    assert (report["verdict"], report["inputs"], report["gradients"][0]["shape"]) == ("fail", "the call in line 9", [2, 3])


CHECKING = '''
import torch
import gradcheck_lab as gl
from functions import Square, Twice

x = torch.linspace(0.5, 2.0, 6, dtype=torch.float64).reshape(2, 3)


def cubed(x):
    return Square.apply(x, 3)


def thrice(x):
    return 3 * x - x.detach()


def not_handed_over(x):
    return Square.apply(x, 2)


if __name__ == "__main__":
    gl.check(cubed, x, order=2)
    gl.check(Twice, x, reference=thrice)
    gl.assert_gradients(Square, x, 2, allow={"wrong-value"}, wrt=["x"])
'''


@pytest.mark.usefixtures("folder")
def test_what_a_file_hands_to_check_is_checked_as_it_says() -> None:
    Path("checking.py").write_text(CHECKING, encoding="utf-8")
    data = scanned("checking.py")
    found = {name: (report["verdict"], report["oracle"]) for name, report in data["reports"].items()}
    assert found == {
        "Square": ("pass", "autograd of the forward's body in float64"),
        "Twice": ("pass", "autograd of the reference in float64"),
        "cubed": ("pass", "autograd in float64"),
    }
    assert data["skipped"] == {}
    # of order 2 are the gradient and its derivatives by the input and by grad_output
    assert len(data["reports"]["cubed"]["gradients"]) == 3
    Path("checking.py").write_text(CHECKING.replace(', reference=thrice', ', allow={"constant-factor"}'), encoding="utf-8")
    sys.modules.pop("checking", None)
    assert exit_code("check", "checking.py:Twice") == 0
    Path("checking.py").write_text(CHECKING.replace(", reference=thrice", ""), encoding="utf-8")
    sys.modules.pop("checking", None)
    assert exit_code("check", "checking.py:Twice") == 1
