"""Values of options that only the code names are tried, and pairs that it reads together; each mistake beside a sound twin."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.subjects.code.reader import read_code

# mypy: disable-error-code="override"

X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
W = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
B = torch.ones(3, dtype=torch.float64)


def word_of_a_match(wrong: bool) -> Any:
    def forward(x: Tensor, act: str = "relu") -> Tensor:
        match act:
            case "relu":
                return torch.relu(x)
            case "sq" | "square":
                return x * x
        raise ValueError(act)

    def backward(g: Tensor, y: Tensor, x: Tensor, act: str = "relu") -> Any:
        return (g * (x > 0) if act == "relu" else (1 if wrong else 2) * x * g,)

    return gl.check(gl.Op(forward, backward), X)


RULES = {"exp": (torch.exp, torch.exp), "sin": (torch.sin, torch.cos)}


def key_of_a_table(wrong: bool) -> Any:
    class Elementwise(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, name: str = "exp") -> Tensor:
            ctx.save_for_backward(x)
            ctx.name = name
            return RULES[name][0](x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * RULES["exp" if wrong else ctx.name][1](ctx.saved_tensors[0]), None

    return gl.check(Elementwise, X)


def tensor_left_out(wrong: bool) -> Any:
    def forward(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return x @ w.T if b is None else x @ w.T + b

    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
        return g @ w, (2 if wrong and b is None else 1) * g.T @ x, None if b is None else g.sum(0)

    return gl.check(gl.Op(forward, backward), X, W, B)


def number_for_none(wrong: bool) -> Any:
    def forward(x: Tensor, eps: float | None = None) -> Tensor:
        return (x * x if eps is None else x * x + eps).sqrt()

    def backward(g: Tensor, y: Tensor, x: Tensor, eps: float | None = None) -> Any:
        return (g * x / (x.abs() if wrong else y),)

    return gl.check(gl.Op(forward, backward), X)


def third_and_fourth_together(wrong: bool) -> Any:
    class Steps(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, up: bool = False, shift: float = 1.0, double: bool = False, half: bool = False) -> Any:
            ctx.up, ctx.factors = up, (double, half)
            return (x + shift) * (3 if up else 1) * (2 if double else 1) / (2 if half else 1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            double, half = ctx.factors
            both = 1 if not wrong else 2
            factor = (both if half else 2) if double else 0.5 if half else 1
            return g * factor * (3 if ctx.up else 1), None, None, None, None

    return gl.check(Steps, X)


def attribute_of_the_object(wrong: bool) -> Any:
    class Leaky:
        def __init__(self, slope: float = 0.1) -> None:
            self.slope = slope

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return torch.where(x > 0, x, self.slope * x)

        def backward(self, g: Tensor) -> Tensor:
            return torch.where(self.x > 0, g, (0.1 if wrong else self.slope) * g)

    layer = Leaky()
    report = gl.check(layer, X)
    assert layer.slope == 0.1
    return report


MISTAKES = (
    word_of_a_match,
    key_of_a_table,
    tensor_left_out,
    number_for_none,
    third_and_fourth_together,
    attribute_of_the_object,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_values_in_code(mistake: Any) -> None:
    report = mistake(True)
    assert [f.cause for f in report.findings if f.severity == "error"] == ["option-specialised"], str(report)
    assert mistake(False).verdict == "pass"


class Centre:
    """Subtracts the mean in training; its backward is for training alone, and nothing tells it the mode."""

    def forward(self, x: Tensor, train_flg: bool = True) -> Tensor:
        self.mean = x.mean(0) if train_flg else torch.zeros_like(x[0])
        return x - self.mean if train_flg else x * 1

    def backward(self, g: Tensor) -> Tensor:
        return g - g.mean(0) + 0 * self.mean


class WithTheFlag(Centre):
    def forward(self, x: Tensor, train_flg: bool = True) -> Tensor:
        self.flag = train_flg
        return Centre.forward(self, x, train_flg)


class ThatReadsTheFlag(WithTheFlag):
    def backward(self, g: Tensor) -> Tensor:
        return g - g.mean(0) if self.flag else g


class LeavingNothingInEval(Centre):
    def forward(self, x: Tensor, train_flg: bool = True) -> Tensor:
        if not train_flg:
            return x * 1
        self.mean = x.mean(0)
        return x - self.mean


@pytest.mark.parametrize(
    ("kind", "severity"),
    [(Centre, "warning"), (WithTheFlag, "error"), (ThatReadsTheFlag, None), (LeavingNothingInEval, None)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_backward_for_training_alone(kind: type, severity: str | None) -> None:
    layer = kind()
    layer.forward(X)  # so that what it keeps in training is at hand in the other mode
    report = gl.check(layer, X, probes=("options",))
    found = [(f.severity, f.cause) for f in report.findings if f.probe == "options"]
    assert found == ([(severity, "mode-mismatch")] if severity else []), str(report)


class Scaled:
    def __init__(self, wrong: bool) -> None:
        self.is_train, self.wrong = True, wrong

    def forward(self, x: Tensor) -> Tensor:
        self.factor = 2 if self.is_train else 3
        return x * self.factor

    def backward(self, g: Tensor) -> Tensor:
        return g * (2 if self.wrong else self.factor)


@pytest.mark.parametrize("wrong", [True, False], ids=["wrong", "sound"])
def test_flag_of_the_object(wrong: bool) -> None:
    layer = Scaled(wrong)
    report = gl.check(layer, X, probes=("modes",))
    assert [f.cause for f in report.findings if f.severity == "error"] == ["mode-mismatch"] * wrong
    assert layer.is_train


def test_reader_follows_names() -> None:
    def inner(how: str) -> int:
        return 1 if how.lower() in ("a", "b") else 2

    def outer(x: Any, kind: str, bound: float, flag: bool = False) -> Any:
        ctx = x
        ctx.word, least = kind, bound
        if flag and least > 3:
            return inner(ctx.word)
        return {"c": 1}.get(kind)

    facts = read_code((outer,))
    assert {c for name in facts.copies_of("kind") for c in facts.compared.get(name, ())} == {"a", "b", "c"}
    assert [n for name in facts.copies_of("bound") for n in facts.beside.get(name, ())] == [3]
    assert any({"flag", "least"} <= group for group in facts.together)
    assert "bound" in facts.sources_of("least")
