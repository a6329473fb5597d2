"""What a notebook shows while a cell runs: on a stand-in of IPython, whose display keeps what was shown where."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.render import notebook
from gradcheck_lab.render.notebook import FuzzProgress, in_notebook
from gradcheck_lab.specs import labels, real


@dataclass
class Place:
    """One output of a cell, and everything that it showed in turn."""

    shown: list[dict[str, str]]

    def update(self, bundle: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@dataclass
class Cell:
    """What a cell showed."""

    kernel: Any = True
    places: list[Place] = field(default_factory=list)

    def display(self, bundle: dict[str, str], raw: bool, display_id: bool = False) -> Place | None:
        assert raw
        self.places.append(Place([bundle]))
        return self.places[-1] if display_id else None

    @property
    def texts(self) -> list[str]:
        """What stood in the only place, in turn."""
        assert len(self.places) == 1
        return [each["text/plain"] for each in self.places[0].shown]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell of a notebook in which no test runs, and which shows every change."""
    made = Cell()
    shell = SimpleNamespace(kernel=made.kernel)
    stand_in = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=made.display))
    monkeypatch.setitem(sys.modules, "IPython", stand_in)
    monkeypatch.setattr(notebook, "observers", [])
    monkeypatch.setattr(FuzzProgress, "every", 0.0)
    return made


def lookup_backward(grad_output: Any, output: Any, table: Any, index: Any) -> Any:
    grad_table = torch.zeros_like(table)
    grad_table[index] = grad_output
    return grad_table, None


LOOKUP = gl.Op(lambda table, index: table[index], lookup_backward, name="lookup")


def test_calls_are_counted_in_one_place_that_is_left_empty(cell: Cell) -> None:
    report = gl.fuzz(ops.relu, max_examples=12)
    assert report.verdict == "pass"
    texts = cell.texts
    assert texts[0] == "relu: 0 of 12 calls, none wrong so far"
    assert "relu: 12 of 12 calls, none wrong so far" in texts
    assert texts[-2:] == ["relu: 12 drawn calls, none wrong; every probe on an ordinary one", ""]
    shown = [each["text/html"] for each in cell.places[0].shown]
    assert all('<progress value="' in html and "sizes tried: " in html for html in shown[:-2])
    assert "float64[" in shown[1]
    assert shown[-1] == ""


def test_a_wrong_call_is_said_while_simpler_ones_are_tried(cell: Cell) -> None:
    report = gl.fuzz(LOOKUP, real("n d"), labels("m", classes="n"))
    wrong = [text for text in cell.texts if " is wrong; " in text]
    assert wrong[0] == f"lookup: drawn call {report.examples} is wrong; 0 simpler ones tried"
    assert wrong[-1] > wrong[0]
    assert cell.texts[-1] == ""
    assert "<progress" not in cell.places[0].shown[-2]["text/html"]


def test_a_run_in_a_process_of_its_own_is_counted_too(cell: Cell) -> None:
    report = gl.fuzz(ops.scaled_dot_product_attention, max_examples=20, isolate=True)
    assert report.verdict == "pass"
    assert cell.texts[-2:] == ["scaled_dot_product_attention: 20 drawn calls, none wrong; every probe on an ordinary one", ""]
    assert "sizes tried: 0, 1, 2" in cell.places[0].shown[-2]["text/html"]


def test_what_the_user_named_is_shown_as_text(cell: Cell) -> None:
    gl.fuzz(gl.Op(torch.sin, lambda g, out, x: (g * x.cos(),), name="<b>\x1b[1m"), real("n"), max_examples=2)
    assert not any("<b>" in each["text/html"] or "\x1b" in str(each) for each in cell.places[0].shown)


def test_a_run_that_is_refused_leaves_nothing(cell: Cell) -> None:
    with pytest.raises(gl.InvalidArgument):
        gl.fuzz(ops.relu, "real('n d')", "real('n d')", max_examples=2)
    assert not cell.places or cell.texts[-1] == ""


def test_what_takes_no_time_is_not_shown(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FuzzProgress, "every", float("inf"))
    gl.fuzz(ops.relu, max_examples=3)
    assert cell.places == []


def test_the_report_of_a_magic_is_html_and_its_whole_text(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    report = gl.check(ops.relu, torch.ones(3), probes=())
    notebook.show_report(report)
    assert cell.places == [Place([{"text/plain": str(report), "text/html": report._repr_html_()}])]
    assert capsys.readouterr().out == ""


def in_a_terminal(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())


def outside_of_ipython(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)


def without_ipython(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython")


def in_a_test(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "observers", [lambda report: None])


@pytest.mark.parametrize("place", [in_a_terminal, outside_of_ipython, without_ipython, in_a_test])
def test_elsewhere_nothing_is_shown(
    place: Any, cell: Cell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_notebook()
    place(cell, monkeypatch)
    assert not in_notebook()
    assert gl.fuzz(ops.relu, max_examples=3).verdict == "pass"
    report = gl.check(ops.relu, torch.ones(3), probes=())
    notebook.show_report(report)
    assert cell.places == []
    assert capsys.readouterr().out == f"{report}\n"
