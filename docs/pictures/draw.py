"""Draws the pictures of the documentation: `python docs/pictures/draw.py` (needs Playwright and Chromium).

`report.png` is the page that README shows, `cell-light.png` and `cell-dark.png` a report in a notebook's cell.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import Browser, sync_playwright

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.report import Report

FOLDER = Path(__file__).parent


def square_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
    grad_x = grad_output * x
    return (grad_x,)


square = gl.Op(torch.square, square_backward, name="square")


def network(images: Any, weight_1: Any, bias_1: Any, weight_2: Any, bias_2: Any, labels: Any) -> Any:
    hidden = ops.relu(ops.linear(images, weight_1, bias_1))
    energy = square(hidden)
    scores = ops.linear(energy, weight_2, bias_2)
    return ops.softmax_cross_entropy(scores, labels)


def report() -> Report:
    """A network with one wrong op."""
    torch.manual_seed(0)
    weights = torch.randn(12, 16), torch.zeros(12), torch.randn(10, 12), torch.zeros(10)
    return gl.check(network, torch.randn(20, 16), *weights, torch.randint(0, 10, (20,)))


def linear_backward(g: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
    return g @ weight, g.flatten(0, -2).T @ x.flatten(0, -2), g.flatten(0, -2).mean(0)


def cell() -> str:
    """A report as a cell of a notebook shows it."""
    wrong = gl.Op(lambda x, weight, bias: x @ weight.T + bias, linear_backward, name="linear")
    report = gl.check(wrong, torch.arange(15.0).reshape(5, 3), torch.arange(12.0).reshape(4, 3), torch.ones(4))
    return report._repr_html_()


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw_page(browser)
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 960, "height": 100}, color_scheme=theme)
            page.set_content(f"<body style='margin: 12px; font: 14px sans-serif'>{cell()}</body>")
            page.screenshot(path=FOLDER / f"cell-{theme}.png", full_page=True)
        browser.close()


def draw_page(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page_file = Path(folder) / "report.html"
        report().to_html(page_file)
        page = browser.new_page(viewport={"width": 1100, "height": 1120})
        page.goto(page_file.as_uri())
        page.wait_for_selector(".graph .node")
        page.click("tr.fail td.gradient button:has-text(\"'weight_1'\")")
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=FOLDER / "report.png")


if __name__ == "__main__":
    main()
