"""The weights that a network of nodes holds are compared with its inputs: in its object, in a closure, in a module."""

from typing import Any

import pytest

import gradcheck_lab as gl
from tests.subjects.value_graphs import node_class

IN_THE_MODULE: Any = None


class Unit:
    """One unit; with `wrong`, its weight's gradient is twice too large."""

    def __init__(self, kind: Any, wrong: bool) -> None:
        self.kind, self.wrong = kind, wrong
        self.weights = [kind(0.7), kind(-0.4)]
        self.bias = {"b": kind(0.1)}

    def __call__(self, x: Any, y: Any) -> Any:
        out = (self._times(x, self.weights[0]) + y * self.weights[1] + self.bias["b"]).tanh()
        return out

    forward = __call__

    def _times(self, x: Any, w: Any) -> Any:
        out = self.kind(x.data * w.data, (x, w))

        def backward() -> None:
            x.grad += w.data * out.grad
            w.grad += (2 if self.wrong else 1) * x.data * out.grad

        out._backward = backward
        return out


def of_module(x: Any, y: Any) -> Any:
    return IN_THE_MODULE(x, y)


def forms(unit: Any) -> dict[str, Any]:
    return {"object": unit, "method": unit.forward, "closure": lambda x, y: unit(x, y), "module": of_module}


@pytest.mark.parametrize("form", ["object", "method", "closure", "module"])
@pytest.mark.parametrize("wrong", [False, True])
def test_weights_that_a_network_holds_are_compared(form: str, wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = node_class()
    unit = Unit(kind, wrong)
    monkeypatch.setattr(f"{__name__}.IN_THE_MODULE", unit)
    own = [*unit.weights, unit.bias["b"]]
    report = gl.check(forms(unit)[form], kind(0.3), kind(-0.5))
    assert report.verdict == ("fail" if wrong else "pass"), str(report)
    assert len(report.gradients) == 5, "two inputs and three weights"
    if wrong:
        failed = [gradient.name for gradient in report.gradients if gradient.verdict == "fail"]
        assert len(failed) == 1
        assert failed[0].endswith("weights[0]")
        assert {finding.cause for finding in report.findings if finding.severity == "error"} == {"constant-factor"}
    assert all(a is b for a, b in zip([*unit.weights, unit.bias["b"]], own, strict=True)), "the network has its own nodes again"
    assert all(node.grad == 0 for node in own)


def test_a_weight_in_a_closure_of_its_own_is_compared() -> None:
    kind = node_class()
    w = kind(2.0)
    report = gl.check(lambda x: x * w, kind(0.3))
    assert [gradient.name for gradient in report.gradients] == ["x", "w"]
    assert report.verdict == "pass"


@pytest.mark.parametrize("wrong", [False, True])
def test_a_network_takes_plain_numbers_too(wrong: bool) -> None:
    report = gl.check(Unit(node_class(), wrong), 0.3, -0.5)
    assert report.verdict == ("fail" if wrong else "pass"), str(report)
    assert len(report.gradients) == 5


def test_a_result_that_is_a_whole_number_is_one_all_the_same() -> None:
    kind = node_class()

    def cut(x: Any) -> Any:
        out = kind(0 if x.data < 0 else x.data, (x,))

        def backward() -> None:
            x.grad += (out.data > 0) * out.grad

        out._backward = backward
        return out

    assert gl.check(gl.Graph(cut, kind), -0.5).verdict == "pass"
