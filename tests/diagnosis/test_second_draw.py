"""An explanation is told only if another draw of the call bears it out, with the same number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.comparison.further_draws import FurtherDraws
from gradcheck_lab.diagnosis import Evidence, Explanation, explain
from gradcheck_lab.diagnosis.evidence import Claim, about
from tests.mistakes.registry import normal

X, NONE = normal(4, 5), "no known mistake explains it"


def square(wrong: Callable[[Tensor, Tensor], Tensor]) -> gl.Op:
    return gl.Op(lambda x: x * x, lambda g, y, x: (wrong(g, x),), name="square")


def told(subject: Any, *inputs: Any, seed: int = 0, **arguments: Any) -> tuple[str, str]:
    report = gl.check(subject, *inputs, probes=(), seed=seed, **arguments)
    assert report.verdict == "fail"
    return report.findings[0].cause, report.findings[0].explanation


# each fits one call: the number in it is another one on the next
OF_ONE_CALL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "factor": lambda g, x: 2 * g * x * (1 + x.sum().sin() ** 2),
    "factor-of-the-upstream": lambda g, x: 2 * g * x * g[0, 0],
    "term": lambda g, x: 2 * g * x + x.norm() * g.sum() / 9,
    "constant": lambda g, x: 2 * g * x + x.max(),
    "epsilon": lambda g, x: 2 * g * x * (1 + 1e-7 * x[0, 0] / x.abs()),
}
OF_THE_RULE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "factor": (lambda g, x: 2 * g * x * 1.37, "constant-factor"),
    "sign": (lambda g, x: -2 * g * x, "sign"),
    "term": (lambda g, x: 2 * g * x + g.sum() / 9, "missing-term"),
    "row": (lambda g, x: 2 * g * x * torch.where(torch.arange(4) == 2, 3.0, 1.0).unsqueeze(1), "constant-factor"),
    "values": (lambda g, x: torch.where(x < 0, g.sin(), 2 * g * x), "value-dependent"),
    "rounded": (lambda g, x: (2 * g * x).half().double(), "low-precision"),
    "epsilon": (lambda g, x: 2 * g * x * (1 + 1e-7 / x.abs()), "epsilon-mismatch"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OF_ONE_CALL)
def test_number_that_fits_one_call_explains_nothing(name: str, seed: int) -> None:
    assert told(square(OF_ONE_CALL[name]), X, seed=seed) == ("wrong-value", NONE)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OF_THE_RULE)
def test_explanation_that_holds_on_every_call_is_told(name: str, seed: int) -> None:
    wrong, cause = OF_THE_RULE[name]
    assert told(square(wrong), normal(4, 5, seed=seed), seed=seed)[0] == cause


def of_form(form: str, wrong: Callable[[Any, Any], Any]) -> Any:
    op = square(wrong)
    if form == "program":
        return lambda x: gl.ops.add(op(x), x)
    if form == "numbers":

        def one_by_one(x: Tensor) -> Tensor:
            return torch.tensor([v * v for v in x.reshape(-1).tolist()], dtype=x.dtype).reshape(x.shape)

        return gl.Op(one_by_one, op.backward, name="square")
    if form == "function":

        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
                return wrong(g, *ctx.saved_tensors)

        return Square

    class Layer:
        def forward(self, x: Any) -> Any:
            self.x = x
            return x * x

        def backward(self, dout: Any) -> Any:
            return wrong(dout, self.x)

    return Layer()


@pytest.mark.parametrize("form", ["program", "function", "layer", "numbers"])
@pytest.mark.parametrize("steady", [True, False])
def test_every_form_is_drawn_again(form: str, steady: bool) -> None:
    def wrong(g: Any, x: Any) -> Any:
        return 2 * g * x * (1.37 if steady else 1 + float(abs(x).sum()))

    inputs = X.numpy() if form == "layer" else X
    assert told(of_form(form, wrong), inputs)[0] == ("constant-factor" if steady else "wrong-value")


def test_right_gradient_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FurtherDraws, "_draw", lambda self, case: pytest.fail("drawn"))
    assert gl.check(square(lambda g, x: 2 * g * x), X, probes=()).verdict == "pass"


def test_wrong_gradient_costs_one_more_run_of_each_side() -> None:
    runs = 0

    def counted(g: Tensor, x: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        return -2 * g * x

    gl.check(square(counted), X, probes=())
    assert runs == 2


def test_mistake_that_other_values_hide_is_looked_for_under_another_upstream() -> None:
    x = normal(5, 6)
    for row, (one, other) in enumerate(((0, 1), (2, 5), (1, 4), (3, 4), (0, 5))):
        x[row, one] = x[row, other]

    def wrong(g: Tensor, x: Tensor) -> Tensor:
        tied = (x.unsqueeze(-1) == x.unsqueeze(-2)).sum(-1) > 1
        return torch.where(tied, g.sin(), 2 * g * x)

    sentence = "it is wrong exactly where x has equal values along axis 1, and right everywhere else"
    assert told(square(wrong), x) == ("tie-mass", sentence)


def test_claims_agree_where_their_numbers_overlap() -> None:
    assert about("factor", 2.0, 0.01).agrees(about("factor", 2.03, 0.01))
    assert about("factor", -2.0, 0.01).agrees(about("factor", -2.03, 0.01))
    assert not about("factor", 2.0, 0.01).agrees(about("factor", 2.1, 0.01))
    assert not Claim("row 1").agrees(Claim("row 2"))
    mine = Explanation("sign", "", "", claims=(Claim("row 1"),))
    assert not mine.agrees(Explanation("sign", "", ""))


def test_explanation_is_not_told_where_no_draw_shows_the_mistake() -> None:
    right = Evidence("x", X, X, X.dtype)
    assert explain(Evidence("x", -X, X, X.dtype, again=lambda: [right])).cause == "wrong-value"
    assert explain(Evidence("x", -X, X, X.dtype, again=lambda: [right, Evidence("x", -X, X, X.dtype)])).cause == "sign"
