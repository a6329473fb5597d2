"""Every failure says where the backward stands: in text, in data, on a page and in a failing test."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model.places import place_of, places_of
from gradcheck_lab.render.page import render_html
from tests.subjects import wrong_everywhere
from tests.subjects.wrong_everywhere import CALLS, TENSOR, partly

FILE = Path(wrong_everywhere.__file__)
MARK = re.compile(r"(?:def|lambda).*  # ([\w, ]+)$")


def marked_lines() -> dict[str, int]:
    found = {}
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1):
        if mark := MARK.search(line):
            found.update(dict.fromkeys(mark[1].split(", "), number))
    return found


LINES = marked_lines()


@pytest.mark.parametrize("name", CALLS)
def test_a_failure_says_where_the_backward_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILE.parent)
    subject, *inputs = CALLS[name]
    report = gl.check(subject, *inputs, probes=())
    place = f"wrong_everywhere.py:{LINES[name]}"
    assert report.verdict == "fail"
    assert {finding.location for finding in report.findings if finding.severity == "error"} == {place}
    lines = str(report).splitlines()
    assert lines[[line.startswith("  reproduce: ") for line in lines].index(True) - 1] == f"  backward: {place}"
    assert f"backward: {place}</p>" in render_html(report)
    assert gl.Report.from_dict(report.to_dict()) == report


def test_every_form_is_marked_and_tried() -> None:
    assert LINES.keys() == CALLS.keys()


def test_a_right_backward_is_placed_too() -> None:
    report = gl.check(gl.ops.relu, TENSOR, probes=())
    assert re.fullmatch(r".*activations\.py:\d+", report.location)
    assert not [finding for finding in report.findings if finding.location]


def test_a_check_that_ends_its_process_says_where_the_backward_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(grad_output: Any, output: Any, x: Any) -> Any:
        os._exit(3)

    monkeypatch.chdir(Path(__file__).parent)
    report = gl.check(gl.Op(torch.sin, end, name="end"), TENSOR, isolate=True)
    (finding,) = report.findings
    assert (finding.cause, finding.location) == ("crashed", f"test_locations.py:{end.__code__.co_firstlineno}")
    assert report.reasons == ()


def test_a_path_is_whole_where_it_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(wrong_everywhere.loss) == f"{FILE}:{LINES['loss']}"


class Calls:
    def __call__(self) -> None: ...


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")


def test_places_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    here = f"test_locations.py:{Calls.__call__.__code__.co_firstlineno}"
    assert place_of(Calls()) == place_of(Calls().__call__) == place_of(functools.partial(Calls())) == here
    assert place_of(partly.rule).endswith(f":{LINES['op']}")
    assert not any(map(place_of, (None, len, torch.sin, Hostile(), Hostile, 3, eval("lambda: 0"))))
    assert places_of([len, Calls(), Calls()]) == here
