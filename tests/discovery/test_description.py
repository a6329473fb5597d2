"""Specs that a forward's own annotations say."""

# shapes of jaxtyping's are no annotations in quotes
# ruff: noqa: F722, F821

from typing import Any

from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.discovery.description import specs_of


def test_specs_are_read_from_annotations_with_a_shape() -> None:
    def whole_rows(x: Float[Tensor, "*batch d"], index: Int[Tensor, "*batch"], weight: Any = None) -> None: ...
    def masked(x: Float32[Tensor, "#n 3"], keep: Bool[Tensor, "n 3"]) -> None: ...
    def sums_of_sizes(x: Float[Tensor, "n+1"], index: Int[Tensor, "n"]) -> None: ...
    def partly(x: Float[Tensor, "n"], index: Tensor) -> None: ...

    def texts(forward: Any) -> list[str]:
        return [str(spec) for spec in specs_of(forward, "m", "f")]

    assert texts(whole_rows) == ["real('*batch d')", "integers('*batch', low=0, high=10)"]
    assert texts(masked) == ["real('#n 3')", "mask('n 3')"]
    assert texts(sums_of_sizes) == []
    assert texts(partly) == []


def test_annotated_forward_is_fuzzed_without_specs() -> None:
    def scale(x: Float[Tensor, "n d"], factor: Float[Tensor, "d"]) -> Float[Tensor, "n d"]:
        return x * factor

    sound = gl.Op(scale, lambda g, y, x, factor: (g * factor, (g * x).sum(0)))
    wrong = gl.Op(scale, lambda g, y, x, factor: (g * factor, (g * x)[:1].sum(0)))
    assert gl.fuzz(sound, max_examples=20).verdict == "pass"
    case = gl.fuzz(wrong).failing_case
    assert case is not None
    assert case["words"] == "x: float64[2, 1], factor: float64[1]"
