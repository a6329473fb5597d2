"""The page of a report in a real browser: it opens, draws, filters, sorts, and takes the keyboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model.shown import shown
from gradcheck_lab.model.steps import Step
from gradcheck_lab.render import wording
from gradcheck_lab.render.page import render_reports
from tests.render.browsing import Page, many, network_report
from tests.render.test_hostile_text import TEXTS, hostile


@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits_its_window_in_both_themes(chromium: Any, folder: Path, width: int, dark: bool) -> None:
    opened = Page(chromium, folder / "network.html", width, dark)
    opened.page.wait_for_selector(".graph .node")
    for button in opened.page.query_selector_all("td.gradient button"):
        button.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    back = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back.removeprefix("rgb(").removesuffix(")").split(","))) < 300) == dark
    assert opened.errors == []
    opened.page.close()


def test_switch_turns_the_theme_around(page: Page) -> None:
    before = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.page.click("#theme")
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.page.click("#theme")
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_graph_shows_every_step_and_marks_the_first_wrong_one(page: Page) -> None:
    page.page.wait_for_selector(".graph .node")
    nodes = page.page.query_selector_all(".graph .node")
    states = {each.get_attribute("aria-label"): each.get_attribute("class") for each in nodes}
    assert states.keys() == {
        "x: contaminated", "weight: contaminated", "bias: contaminated", "linear (hidden): contaminated",
        "square (squared): wrong", "abs: not compared", "target: right", "mse_loss: right",
    }  # fmt: skip
    assert {label for label, classes in states.items() if "first" in str(classes).split()} == {"square (squared): wrong"}
    assert {label for label, classes in states.items() if "native" in str(classes).split()} == {"abs: not compared"}


@pytest.mark.parametrize("how", ["click", "keyboard"])
def test_step_opens_its_gradient(page: Page, how: str) -> None:
    node = page.page.wait_for_selector(".graph .node[aria-label^='linear (hidden)']")
    if how == "click":
        node.click()
    else:
        node.focus()
        page.page.keyboard.press("Enter")
    row = page.page.wait_for_selector("tr.inner")
    assert page.count("tr.inner") == 1
    assert "20 of 20 elements are wrong" in row.inner_text()
    assert page.page.evaluate("document.activeElement.textContent") == "intermediate 'hidden'"


def test_grid_says_the_element_under_the_pointer(page: Page) -> None:
    page.page.click("td.gradient button:has-text(\"'weight'\")")
    canvas = page.page.wait_for_selector("tr.inner canvas[data-kind=expected]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    said = []
    for row, column in ((0, 0), (3, 2)):
        page.page.mouse.move(box["x"] + box["width"] * (column + 0.5) / 3, box["y"] + box["height"] * (row + 0.5) / 4)
        said.append(page.page.inner_text("tr.inner .read"))
    assert said[0].startswith("[0, 0]")
    assert said[1].startswith("[3, 2]")
    weight = next(each for each in network_report().gradients if each.name == "weight")
    row, column = weight.worst_index or (0, 0)
    page.page.mouse.move(box["x"] + box["width"] * (column + 0.5) / 3, box["y"] + box["height"] * (row + 0.5) / 4)
    values = f"hand-written {wording.number(weight.actual)}  reference {wording.number(weight.expected)}"
    assert page.page.text_content("tr.inner .read").startswith(f"[{row}, {column}]  {values}")
    assert page.page.text_content("tr.inner .read").endswith("(worst)")


def test_arrow_keys_move_over_a_grid(page: Page) -> None:
    page.page.click("td.gradient button:has-text(\"'weight'\")")
    page.page.focus("tr.inner canvas[data-kind=actual]")
    for key in ["ArrowUp"] * 4 + ["ArrowLeft"] * 3:
        page.page.keyboard.press(key)
    first = page.page.inner_text("tr.inner .read")
    page.page.keyboard.press("ArrowRight")
    assert first != page.page.inner_text("tr.inner .read")


def test_filters_search_and_sort(page: Page) -> None:
    rows = "table.gradients tbody tr"
    every = page.count(rows)
    page.page.select_option("[data-filter=verdict]", "pass")
    assert 0 < page.count(rows) < every
    assert page.count(f"{rows}.fail") == 0
    page.page.select_option("[data-filter=verdict]", "")
    page.page.keyboard.press("/")
    page.page.keyboard.type("weight")
    assert page.count(rows) == 1
    assert page.page.inner_text("#shown") == f"1 of {every}"
    page.page.keyboard.press("Escape")
    assert page.count(rows) == every
    page.page.click("[data-sort=name]")
    names = [each.inner_text() for each in page.page.query_selector_all(f"{rows} td.gradient button")]
    assert names == sorted(names)
    page.page.fill("#search", "nothing-of-this-name")
    assert page.page.is_visible("#none")


def test_slices_of_a_tensor_can_be_chosen(chromium: Any, tmp_path: Path) -> None:
    bent = gl.Op(torch.sin, lambda grad_output, output, x: (grad_output * x.cos() * (x > -1),), name="bent")
    gl.check(bent, torch.linspace(-2, 2, 60).reshape(3, 4, 5), probes=()).to_html(tmp_path / "slices.html")
    opened = Page(chromium, tmp_path / "slices.html")
    opened.page.click("td.gradient button")
    slices = [each.inner_text() for each in opened.page.query_selector_all("tr.inner option")]
    assert slices == [f"[{k}, :, :]" for k in range(3)]
    opened.page.select_option("tr.inner select", "2")
    assert opened.page.inner_text("tr.inner .read").startswith("[2, 0, 0]")
    assert opened.errors == []
    opened.page.close()


@pytest.mark.parametrize("name", ["tag", "closes-an-attribute", "template", "nul", "turns-the-line-around", "lone-surrogate"])
def test_hostile_names_are_shown_as_text(chromium: Any, tmp_path: Path, name: str) -> None:
    text = TEXTS[name]
    failed = hostile(text, "fail")
    page = render_reports(text, text, [(text, failed), (text, replace(failed, verdict="pass"))])
    (tmp_path / "hostile.html").write_text(page, encoding="utf-8")
    opened = Page(chromium, tmp_path / "hostile.html")
    opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    opened.page.query_selector(".graph").scroll_into_view_if_needed()
    opened.page.wait_for_selector(".graph .node")
    for button in opened.page.query_selector_all("td.gradient button"):
        button.click()
    assert opened.page.query_selector_all("img") == []
    assert shown(text) in opened.page.text_content(".graph .node text")
    assert opened.errors == []
    opened.page.close()


def test_a_graph_that_was_never_in_sight_is_printed(chromium: Any, tmp_path: Path) -> None:
    reports = [("first", many(150)), ("second", network_report())]
    (tmp_path / "below.html").write_text(render_reports("suite", "", reports), encoding="utf-8")
    opened = Page(chromium, tmp_path / "below.html")
    assert opened.page.query_selector_all("#r1 .graph .node") == []
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(opened.page.query_selector_all("#r1 .graph .node")) == len(network_report().steps)
    assert opened.errors == []
    opened.page.close()


@pytest.mark.parametrize("width", [380, 1280])
def test_long_graph_is_legible_at_its_first_wrong_step_folded_or_not(chromium: Any, tmp_path: Path, width: int) -> None:
    steps = [Step("x", "input", (), (), "contaminated")]
    for k in range(150):
        state: Any = "wrong" if k == 75 else "contaminated" if k < 75 else "right"
        steps.append(Step("linear (z)" if k % 2 else "tanh (x)", "op", (k,), (), state, k == 149))
    replace(network_report(), steps=tuple(steps)).to_html(tmp_path / "long.html")
    opened = Page(chromium, tmp_path / "long.html", width)
    opened.page.wait_for_selector(".graph .node")
    few = len(opened.page.query_selector_all(".graph .node"))
    opened.page.query_selector(".graph").scroll_into_view_if_needed()
    for count in (few, 151):
        assert len(opened.page.query_selector_all(".graph .node")) == count
        node, graph = (opened.page.query_selector(each).bounding_box() for each in (".graph .first", ".graph svg"))
        assert node["height"] > 12
        assert graph["x"] <= node["x"] <= graph["x"] + graph["width"]
        assert graph["y"] <= node["y"] <= graph["y"] + graph["height"]
        opened.page.click(".zoom button:text-is('fold')")
    assert few < 12
    assert opened.errors == []
    opened.page.close()
