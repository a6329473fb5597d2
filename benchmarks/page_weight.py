"""What a page weighs and when it can be used: one check, 500 and 2,000 gradients, a fuzz run, a suite.

Each page is opened from disk in a fresh Chromium that is offline, several times; printed are the bytes and the medians of the
milliseconds from the start of the navigation until the page's scripts are done (it can be searched, filtered and unfolded),
until it is first painted, and until the graph of a program is drawn. Run it as `python benchmarks/page_weight.py`; it needs
playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.render.page import render_html, render_reports

TIMES = 7
# what the page's own clock says: scripts at the end of the body are done before DOMContentLoaded has ended
TIMING = """() => new Promise(done => setTimeout(() => {
  const [navigation] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  const [graph] = performance.getEntriesByName("graph");
  done([navigation.domContentLoadedEventEnd, paint ? paint.startTime : NaN, graph ? graph.startTime : NaN]);
}, 500))"""


def layers(count: int) -> str:
    """The page of a program of so many gradients; one of its steps, in the middle, is wrong by a factor."""
    depth = (count - 4) // 4
    bent = gl.Op(torch.tanh, lambda g, output, x: (0.9 * g * (1 - output**2),), name="bent")

    def network(x: Any, target: Any, weights: list[Any], biases: list[Any]) -> Any:
        for k in range(depth):
            z = ops.linear(x, weights[k], biases[k])
            x = bent(z) if k == depth // 2 else ops.tanh(z)
        loss = ops.mse_loss(x, target)
        return loss

    torch.manual_seed(0)
    weights = [torch.eye(8) + 0.1 * torch.randn(8, 8) for _ in range(depth)]
    report = gl.check(network, torch.randn(4, 8), torch.randn(4, 8), weights, [torch.zeros(8) for _ in range(depth)], probes=())
    print(f"  {len(report.gradients)} gradients, {report.verdict}")
    return render_html(report)


def one_check() -> str:
    """The page of a wrong layer under all probes."""

    def backward(grad_output: Any, output: Any, x: Any, weight: Any, bias: Any) -> Any:
        return grad_output @ weight, grad_output.T @ x, grad_output.mean(0)

    wrong = gl.Op(lambda x, weight, bias: x @ weight.T + bias, backward, name="linear")
    return render_html(gl.check(wrong, torch.randn(16, 8), torch.randn(4, 8), torch.randn(4)))


def fuzz_run() -> str:
    """The page of a hundred drawn calls."""
    return render_html(gl.fuzz(ops.softmax_cross_entropy))


def suite() -> str:
    """The page of every op of the library, checked with its own specs."""
    from gradcheck_lab.calls.drawing import ordinary_call

    named = []
    for op in (op for family in ops.FAMILIES.values() for op in family):
        case = ordinary_call(op, op.signatures[0], 0, {}, torch.float64)
        named.append((f"tests/test_ops.py::test_{op.name}", gl.check(op, *case.inputs, options=case.options, probes=())))
    return render_reports("gradcheck", f"{len(named)} ops", named)


def opened(browser: Any, path: Path) -> list[float]:
    """The medians of the milliseconds until the scripts of a page are done, it is painted, and its graph is drawn."""
    times = []
    for _ in range(TIMES):
        page = browser.new_page(viewport={"width": 1280, "height": 900}, offline=True)
        page.goto(path.as_uri())
        times.append(page.evaluate(TIMING))
        page.close()
    return [statistics.median(each) for each in zip(*times, strict=True)]


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gradients", type=int, nargs="*", default=[500, 2000], help="gradients of a program")
    wanted = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    pages: dict[str, Callable[[], str]] = {"one check": one_check, "fuzz run": fuzz_run, "suite of all ops": suite}
    pages |= {f"{count} gradients": lambda count=count: layers(count) for count in wanted.gradients}  # type: ignore[misc]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, Chromium {browser.version}")
        for name, build in pages.items():
            started = time.perf_counter()
            text = build()
            path = Path(folder) / "page.html"
            path.write_text(text, encoding="utf-8")
            scripts, painted, graph = opened(browser, path)
            seconds = time.perf_counter() - started
            weight = f"{path.stat().st_size / 1000:.0f} kB"
            print(f"{name}: {weight}, scripts done after {scripts:.0f} ms, painted after {painted:.0f} ms", end="")
            print(f", graph drawn after {graph:.0f} ms" if graph == graph else "", end="")
            print(f" ({seconds:.0f} s to make and measure)", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
