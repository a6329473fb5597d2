"""Writes flow.svg and wings.svg, the drawings of docs/how_it_works.md: `python -m docs.pictures.how_it_works`.

Colours are the site's where the drawing stands inside a page, else plain ones. The wings are those of the imports as they are:
each stands above all that it imports from, and an arrow is left out where others lead there.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from pathlib import Path

from tests.test_structure import WINGS, every_import

FOLDER = Path(__file__).parent
WIDTH, ROW, BOX = 760, 58, 28
STYLE = """
  .drawn text { font: 13px sans-serif; fill: var(--md-default-fg-color, #333); text-anchor: middle; dominant-baseline: middle; }
  .drawn text.small { font-size: 11px; fill: var(--md-default-fg-color--light, #666); }
  .drawn rect { fill: var(--md-code-bg-color, #f5f5f5); stroke: var(--md-accent-fg-color, #009485); rx: 5px; }
  .drawn path { fill: none; stroke: var(--md-default-fg-color--light, #888); marker-end: url(#tip); }
  .drawn #tip path { fill: var(--md-default-fg-color--light, #888); stroke: none; marker-end: none; }
"""
TIP = (
    '<marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0 0L6 3L0 6z"/></marker>'
)
STEPS = (
    ("your code, one call", "an op, a layer, a notebook"),
    ("subjects/", "how to run both sides"),
    ("examination/", "run the hand-written side"),
    ("oracles/", "what the gradient should be"),
    ("comparison/", "within the error budget"),
    ("probes/", "derive further calls"),
    ("diagnosis/", "why it is wrong"),
    ("report.py, render/", "message, page, JSON"),
)


def flow() -> str:
    """The steps of one check in two rows, and the way back for derived calls."""
    columns, width, height = 4, 168, 52
    step = (WIDTH - width) / (columns - 1)
    boxes, places = [], []
    for number, (title, below) in enumerate(STEPS):
        x, y = (number % columns) * step, 10 + (number // columns) * 120
        places.append((x, y))
        boxes.append(f'<rect x="{x:.0f}" y="{y}" width="{width}" height="{height}"/>')
        boxes.append(_text(x + width / 2, y + 18, title) + _text(x + width / 2, y + 36, below, "small"))
    middle = 10 + height
    for (x, y), (after, below) in pairwise(places):
        if y == below:
            boxes.append(f'<path d="M{x + width:.0f} {y + height / 2}H{after:.0f}"/>')
    last, first, probe, run = places[3][0], places[4][0], places[5][0], places[2][0]
    boxes.append(f'<path d="M{last + width / 2:.0f} {middle}v18H{first + width / 2:.0f}V130"/>')
    boxes.append(f'<path d="M{probe + width / 2 - 30:.0f} 130V112H{run + width / 2:.0f}V{middle}" stroke-dasharray="4 3"/>')
    boxes.append(_text((probe + run + width) / 2 - 24, 98, "each derived call is run and compared likewise", "small"))
    return _svg(boxes, 192)


def wings() -> str:
    """Every wing above those that it imports from."""
    graph = _graph()
    nearest, rows = _nearest(graph), dict[int, list[str]]()
    for wing, floor in _floors(graph).items():
        rows.setdefault(floor, []).append(wing)
    top, places = max(rows), dict[str, tuple[float, float]]()
    for floor, names in sorted(rows.items()):
        names.sort(key=lambda name: _mean([places[below][0] for below in nearest[name]]))
        for number, name in enumerate(names):
            places[name] = (WIDTH * (number + 1) / (len(names) + 1), 20 + (top - floor) * ROW)
    lines = [_arrow(places[wing], places[below]) for wing in graph for below in sorted(nearest[wing])]
    for name, (x, y) in places.items():
        width = 9 * len(name) + 20
        lines.append(f'<rect x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width}" height="{BOX}"/>')
        lines.append(_text(x, y, name))
    return _svg(lines, 40 + top * ROW)


def _graph() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {wing: set() for wing in WINGS}
    for each in every_import():
        below = each.module.split(".")[1]
        if not each.late and below != each.wing:
            found[each.wing].add(below)
    return {wing: frozenset(below) for wing, below in found.items()}


def _nearest(graph: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The imports of each wing but those that another of its imports has as well."""
    reached: dict[str, frozenset[str]] = {}
    for wing, below in graph.items():  # from the ground up
        reached[wing] = below.union(*(reached[each] for each in below))
    return {wing: below.difference(*(reached[each] for each in below)) for wing, below in graph.items()}


def _floors(graph: Mapping[str, frozenset[str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for wing, below in graph.items():
        found[wing] = 1 + max((found[each] for each in below), default=-1)
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else WIDTH / 2


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    y, v = y + BOX / 2, v - BOX / 2
    return f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + 24:.0f} {u:.0f} {v - 24:.0f} {u:.0f} {v:.0f}"/>'


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'


def _svg(lines: list[str], height: int) -> str:
    body = "\n".join(lines)
    box = f'viewBox="-2 0 {WIDTH + 4} {height}"'
    head = f"<style>{STYLE}</style>\n<defs>{TIP}</defs>"
    return f'<svg class="drawn" xmlns="http://www.w3.org/2000/svg" {box}>\n{head}\n{body}\n</svg>\n'


if __name__ == "__main__":
    (FOLDER / "flow.svg").write_text(flow(), encoding="utf-8")
    (FOLDER / "wings.svg").write_text(wings(), encoding="utf-8")
