"""Calls at kinks that fresh draws once flagged: each passes, and beside each a mistake that is as hard to see is caught."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

SOUND: dict[str, Callable[[], gl.Report]] = {}
WRONG: dict[str, tuple[str, Callable[[], gl.Report]]] = {}


def sound(make: Callable[[], gl.Report]) -> Callable[[], gl.Report]:
    SOUND[make.__name__] = make
    return make


def wrong(cause: str) -> Callable[[Callable[[], gl.Report]], Callable[[], gl.Report]]:
    def register(make: Callable[[], gl.Report]) -> Callable[[], gl.Report]:
        WRONG[make.__name__] = cause, make
        return make

    return register


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_at_zero(g: Tensor, y: Tensor, x: Tensor) -> Any:
    return (torch.where(x < 0, -g, g),)


@sound
def zeros_of_a_triangle_are_no_tie_of_an_absolute_value() -> gl.Report:
    return gl.check(gl.Op(torch.abs, one_at_zero), normal(3, 3, seed=1).tril())


@wrong("tie-mass")
def every_tie_takes_all_beside_zeros_of_a_triangle() -> gl.Report:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        largest = (x == x.amax(-1, keepdim=True)) * g.sum(-1, keepdim=True)
        return (torch.where(x < 0, -g, g) + largest,)

    return gl.check(gl.Op(lambda x: x.abs() + x.amax(-1, keepdim=True), backward), normal(3, 3, seed=1).tril())


@pytest.mark.parametrize("name", SOUND)
def test_sound_call_passes(name: str) -> None:
    report = SOUND[name]()
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.parametrize("name", WRONG)
def test_mistake_beside_it_is_caught(name: str) -> None:
    cause, make = WRONG[name]
    report = make()
    assert report.verdict == "fail", report
    assert next(finding for finding in report.findings if finding.severity == "error").cause == cause, report
