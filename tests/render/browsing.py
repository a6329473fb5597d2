"""A real browser for the tests of pages, and the reports that they open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.report import Report
from gradcheck_lab.specs import real

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

triple = gl.Op(lambda x: x * x, lambda grad_output, output, x: (3 * x * grad_output,), name="square")


def network(x: Any, weight: Any, bias: Any, target: Any) -> Any:
    """A program with a wrong step, one that is wrong only because of it, and one of torch's own."""
    hidden = ops.linear(x, weight, bias)
    squared = triple(hidden)
    size = torch.abs(squared)
    return ops.mse_loss(size, target)


@cache
def network_report() -> Report:
    torch.manual_seed(0)
    return gl.check(network, torch.randn(5, 3), torch.randn(4, 3), torch.randn(4), torch.randn(5, 4), probes=())


@cache
def fuzzed() -> Report:
    """A fuzz run of a product whose second gradient is halved where it was broadcast."""

    def backward(grad_output: Any, output: Any, x: Any, y: Any) -> Any:
        dy = (grad_output * x).sum_to_size(y.shape)
        return (grad_output * y).sum_to_size(x.shape), dy if y.shape == output.shape else dy / 2

    halved = gl.Op(lambda x, y: x * y, backward, name="halved")
    with settings_of(database=None):
        return gl.fuzz(halved, real("*#b #n"), real("*#b #n"))


def many(count: int) -> Report:
    """The report of the network with further right gradients, each with a picture as large as one has."""
    report = network_report()
    found = next(each for each in report.gradients if each.verdict == "pass")
    right = tuple(replace(found, name=f"g{k}", label=f"intermediate 'g{k}'", budget_used=k / count) for k in range(count))
    return replace(report, gradients=(*report.gradients, *right))


@contextmanager
def settings_of(**changed: Any) -> Iterator[None]:
    """Hypothesis's settings with these changes, as a profile of their own."""
    before = settings.get_current_profile_name()
    settings.register_profile("changed", settings(**changed))
    settings.load_profile("changed")
    yield
    settings.load_profile(before)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where it or Playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'test'")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Page:
    """A page opened from disk; `errors` are what its console and its scripts said."""

    def __init__(self, started: Any, path: Path, width: int = 1280, dark: bool = False) -> None:
        self.errors: list[str] = []
        self.page = started.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
        )
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        self.page.goto(path.as_uri())

    def count(self, selector: str) -> int:
        """How many elements fit and can be seen."""
        found: int = self.page.eval_on_selector_all(selector, "all => all.filter(each => each.checkVisibility()).length")
        return found
