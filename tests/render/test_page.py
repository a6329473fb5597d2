"""The page of a report in a real browser: it opens, draws, filters, sorts, and takes the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model import documentation
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.coverage import Coverage
from gradcheck_lab.model.not_run import LinesNotRun, NotRun, SideNotTaken
from gradcheck_lab.model.shown import shown
from gradcheck_lab.model.steps import Step
from gradcheck_lab.render import wording
from gradcheck_lab.render.annotations import sarif
from gradcheck_lab.render.page import render_reports
from gradcheck_lab.report import Report
from tests.render.browsing import Page, browser, fuzzed, network_report
from tests.render.test_hostile_text import TEXTS, hostile


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    network_report().to_html(made / "network.html")
    return made


@pytest.fixture
def page(chromium: Any, folder: Path) -> Iterator[Page]:
    opened = Page(chromium, folder / "network.html")
    yield opened
    assert opened.errors == []
    opened.page.close()


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


def test_drawn_calls_have_a_section_with_what_was_tried_and_how_it_shrank(chromium: Any, tmp_path: Path) -> None:
    report = fuzzed()
    report.to_html(tmp_path / "fuzzed.html")
    opened = Page(chromium, tmp_path / "fuzzed.html", 380)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380
    table = ".matrix:has(caption:text-is('broadcast'))"
    heads = [each.inner_text() for each in opened.page.query_selector_all(f"{table} thead th")]
    assert heads == ["no", "yes"]
    drawn = report.drawn
    assert drawn is not None
    (row,) = [row for row in drawn.tried if (row.property, row.name) == ("broadcast", "y")]
    cells = opened.page.query_selector_all(f"{table} tr:has(th:text-is('y')) td")
    assert [each.get_attribute("class") for each in cells] == ["right", "wrong"]
    assert cells[1].get_attribute("title").startswith(f"{row.outcomes[1].wrong} wrong")
    assert cells[0].inner_text() == str(row.outcomes[0].right)
    steps = [each.inner_text() for each in opened.page.query_selector_all(".shrunk code")]
    assert steps == [step.words for step in drawn.shrunk]
    python = opened.page.inner_text("h3:text-is('Smallest failing call') ~ .copied pre")
    assert "backward" in python
    compile(python, "copied", "exec")
    assert opened.errors == []
    opened.page.close()


def test_what_was_not_compared_and_what_never_ran_have_sections_of_their_own(chromium: Any, tmp_path: Path) -> None:
    lines, side = LinesNotRun("layer.py", "backward", 4, 6, "bias is None"), SideNotTaken("layer.py", "f", 9, "x > 3")
    left_out = (Coverage("input", 2, {"no floating tensor": 1}),)
    report = replace(network_report(), coverage=left_out, not_run=NotRun((lines,), (side,), 2))
    report.to_html(tmp_path / "partly.html")
    opened = Page(chromium, tmp_path / "partly.html")
    left = [each.inner_text() for each in opened.page.query_selector_all("section.left-out li")]
    assert left == ["1 input, no floating tensor"]
    never = [each.inner_text() for each in opened.page.query_selector_all("section.not-run li")]
    assert never == [
        "lines 4-6 of layer.py (needs bias is None), in backward", "no element with x > 3 at line 9 of layer.py, in f",
    ]  # fmt: skip
    opened.page.click("section.not-run h3 a")
    assert opened.page.evaluate("location.hash") == "#r0-not-run"
    assert opened.errors == []
    opened.page.close()


def test_a_report_without_them_has_neither_section(page: Page) -> None:
    assert page.count("section.drawn, section.not-run") == 0


def many(count: int) -> Report:
    """The report of the network with further right gradients, each with a picture as large as one has."""
    report = network_report()
    found = next(each for each in report.gradients if each.verdict == "pass")
    right = tuple(replace(found, name=f"g{k}", label=f"intermediate 'g{k}'", budget_used=k / count) for k in range(count))
    return replace(report, gradients=(*report.gradients, *right))


def test_many_gradients_are_all_found_and_shown_when_asked_for(chromium: Any, tmp_path: Path) -> None:
    many(500).to_html(tmp_path / "many.html")
    opened = Page(chromium, tmp_path / "many.html")
    rows = "table.gradients tbody tr"
    assert opened.count(rows) == 200
    assert opened.count(f"{rows}.fail") == sum(each.verdict == "fail" for each in network_report().gradients) > 0
    opened.page.fill("#search", "'g499'")
    assert opened.count(rows) == 1
    opened.page.fill("#search", "")
    assert opened.count(rows) == 200
    opened.page.evaluate("location.hash = document.querySelector('tbody.rest tr').id")
    opened.page.wait_for_selector("tbody.rest:not([hidden])")
    assert opened.count(rows) == len(many(500).gradients)
    assert opened.count("[data-rest]") == 0
    opened.page.click("[data-sort=used]")
    used = opened.page.eval_on_selector_all(rows, "all => all.map(row => Number(row.dataset.used))")
    assert used == sorted(used, reverse=True)
    assert len(used) == len(many(500).gradients)
    assert opened.errors == []
    opened.page.close()


def test_typical_reports_weigh_less_than_a_megabyte() -> None:
    assert len(network_report().to_html().encode()) < 100_000
    assert len(fuzzed().to_html().encode()) < 100_000
    pictured = next(each.picture for each in network_report().gradients if each.picture is not None)
    cells = pictured.rows * pictured.columns * len(pictured.slices)
    full = many(500)
    gradients = tuple(replace(each, picture=pictured) for each in full.gradients)
    assert cells * len(gradients) > 6_000
    assert len(replace(full, gradients=gradients).to_html().encode()) < 1_000_000


def test_cause_unfolds_its_sentence_and_fix(page: Page) -> None:
    cause = "section.finding.error details.cause"
    assert page.count(f"{cause} > p") == 0
    page.page.click(f"{cause} > summary")
    row = CAUSES["constant-factor"]
    assert page.page.inner_text(f"{cause} > p") == f"constant-factor: {row.sentence}; {row.fix}."


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://gradcheck.example/", "https://gradcheck.example/causes/constant-factor.html"),
        ("https://host.example/us/lab/blob/main/docs", "https://host.example/us/lab/blob/main/docs/causes/constant-factor.md"),
        ("", ""), ("javascript:alert(1)", ""), ('https://x/"onclick="alert(1)', ""),
    ],
)  # fmt: skip
def test_cause_is_linked_where_the_package_says_where_its_documentation_is(
    address: str, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documentation, "_documentation", lambda: address)
    report = network_report()
    page = report.to_html()
    assert (f'<a href="{linked}" rel="noreferrer">' in page) == bool(linked)
    (rule,) = sarif([("network", report)])["runs"][0]["tool"]["driver"]["rules"]
    assert rule.get("helpUri", "") == linked
    assert page.count('href="') == page.count('href="#') + len(report.findings) * bool(linked)


def test_address_of_the_documentation_is_that_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Message()
    entries["Project-URL"] = "Source, https://host.example/us/lab"
    entries["Project-URL"] = "Documentation, https://gradcheck.example"
    monkeypatch.setattr(documentation, "metadata", lambda name: entries)
    documentation._documentation.cache_clear()
    assert documentation.cause_page("constant-factor") == "https://gradcheck.example/causes/constant-factor.html"
    assert documentation.cause_page("no-such-cause") == ""
    documentation._documentation.cache_clear()


def test_header_says_the_verdict_and_how_much_was_compared(chromium: Any, tmp_path: Path) -> None:
    report = network_report()
    alone = report.gradients[0]
    left = replace(report, verdict="inconclusive", gradients=(alone, replace(alone, name="u", reason="no elements")))
    (tmp_path / "two.html").write_text(render_reports("suite", "", [("a", report), ("b", left)]), encoding="utf-8")
    report.to_html(tmp_path / "one.html")
    says = {"one": "network\nfail\n5 gradients compared"}
    says["two"] = "suite\n1 fail\n1 inconclusive\n6 gradients compared, 1 not"
    for name, said in says.items():
        opened = Page(chromium, tmp_path / f"{name}.html")
        assert opened.page.inner_text(".top .line").removesuffix("◐").strip() == said
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
