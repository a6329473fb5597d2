"""Draws `report.png`, the page of a report as README shows it: `python docs/pictures/draw.py` (needs Playwright and Chromium)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.report import Report


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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        report().to_html(page_file)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1120})
        page.goto(page_file.as_uri())
        page.wait_for_selector(".graph .node")
        page.click("tr.fail td.gradient button:has-text(\"'weight_1'\")")
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=Path(__file__).parent / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
