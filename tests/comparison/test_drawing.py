"""Pictures of gradients: every element counts once, and pooling never hides the worst."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.comparison.budget import judge, used_of_each
from gradcheck_lab.comparison.drawing import distribution_of, picture_of
from gradcheck_lab.model.limits import PICTURED_CELLS, PICTURED_CELLS_OF_A_SIDE, PICTURED_SLICES
from gradcheck_lab.model.pictures import within

SHAPES = st.lists(st.integers(1, 40), max_size=4).filter(lambda shape: np.prod(shape) <= 20_000).map(tuple)


def numbers(text: str, kind: Any) -> Any:
    return np.frombuffer(base64.b64decode(text), kind)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_picture_keeps_the_worst_element_and_its_place(shape: tuple[int, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    actual, expected, used = (torch.randn(shape, generator=generator).double() for _ in range(3))
    picture = picture_of(actual, expected, used.abs())
    assert picture is not None
    assert max(picture.rows, picture.columns) <= PICTURED_CELLS_OF_A_SIDE.value
    assert len(picture.slices) <= PICTURED_SLICES.value
    assert json.loads(json.dumps(picture.at)) == picture.at
    worst = int(numbers(picture.used, np.float32).argmax())
    index, cells = picture.slices[worst // (picture.rows * picture.columns)], numbers(picture.at, np.int32)
    planes = [(v[index] if len(shape) > 2 else v).reshape(-1) for v in (used, actual, expected)]
    for plane, text in zip(planes[1:], (picture.actual, picture.expected), strict=True):
        assert numbers(text, np.float32)[worst] == np.float32(plane[int(cells[worst])])
    assert planes[0][int(cells[worst])].abs() == used.abs().max()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e9) | st.just(float("inf")) | st.just(float("nan")), min_size=1, max_size=50))
def test_distribution_counts_every_element_once(used: list[float]) -> None:
    counts = distribution_of(torch.tensor(used, dtype=torch.float64))
    assert sum(counts) == len(used)
    beyond = sum(counts[8:])
    assert beyond == sum(not value <= 1 for value in used)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), max_size=3).map(tuple), st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1e-4, 1.0]))
def test_elements_use_what_the_judgement_says(shape: tuple[int, ...], seed: int, error: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(shape, generator=generator).double()
    actual = (truth + error * torch.randn(shape, generator=generator)).float()
    found, used = judge(actual, truth, torch.float32), used_of_each(actual, truth, torch.float32)
    assert int((used > 1).sum()) == found.wrong_elements
    if found.rule == "element":
        assert float(used.max()) == found.budget_used


def test_report_has_the_pictures_of_the_wrong_ones_first() -> None:
    one = picture_of(torch.ones(30, 30), torch.ones(30, 30), torch.ones(30, 30))
    assert one is not None
    many = within([one] * 20, range(19, -1, -1), PICTURED_CELLS.value)
    fit = PICTURED_CELLS.value // one.cells
    assert [picture is not None for picture in many] == [False] * (20 - fit) + [True] * fit


def test_only_the_call_as_given_is_drawn_and_a_report_survives_json() -> None:
    report = gl.check(ops.linear, torch.randn(4, 3), torch.randn(2, 3), torch.randn(2))
    assert all(gradient.picture is not None for gradient in report.gradients)
    assert all(sum(gradient.distribution) == gradient.elements for gradient in report.gradients)
    assert gl.Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert picture_of(*torch.empty(3, 4, 0)) is None
