"""`demo --all`: every reference network checked on every intermediate, and trained on both sides where it trains."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.check import check
from gradcheck_lab.commands.demo import DRIFT, one_thread
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Verdict
from gradcheck_lab.networks import numpy_classifier
from gradcheck_lab.networks.lockstep import Parameters, Run, train
from gradcheck_lab.networks.mnist import load_images
from gradcheck_lab.networks.reference import NETWORKS, Network
from gradcheck_lab.networks.two_layer import relu_net, sigmoid_net, table_lines, three_ways
from gradcheck_lab.render.lines import Line
from gradcheck_lab.render.terminal import finding_lines, print_fitted, print_report
from gradcheck_lab.report import Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

SCHEMA = 1
TRAINING_IMAGES = 5_000
# Central differences of width 1e-5 in float64 err by about 1e-10 of the loss; a wrong rule differs by its own size.
CENTRAL = 1e-6


@dataclass(slots=True)
class AllNetworks:
    """What was found: `problems` by the network's title, `unsure` networks, and `data`, which is what `--json` writes."""

    data: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Fail on any problem, inconclusive where a check was, else pass."""
        if self.problems:
            return "fail"
        return "inconclusive" if self.unsure else "pass"


def run_all(*, seed: int = 0, console: Console | None = None) -> AllNetworks:
    """Verify every network, printing on the way under a progress bar; the same `seed` gives the same figures.

    Raises `InvalidArgument` when scikit-learn is not installed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console()
    started = time.perf_counter()
    done = AllNetworks({"schema": SCHEMA, "seed": seed, "environment": environment(), "networks": {}})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with one_thread(), Progress(*columns, console=console) as progress:
        bar = progress.add_task("networks", total=len(NETWORKS) + 2)
        for network in NETWORKS:
            progress.update(bar, description=network.title)
            _verify(done, progress.console, network, seed, progress)
            progress.advance(bar)
        progress.update(bar, description="three ways")
        _three_ways(done, progress.console, seed)
        progress.advance(bar)
        progress.update(bar, description="classifier as in NumPy")
        _classify(done, progress.console, seed, progress)
        progress.update(bar, advance=1, description="networks")
    done.data |= {"verdict": done.verdict, "problems": done.problems, "seconds": time.perf_counter() - started}
    _say(console, "", _closing(done))
    return done


def _verify(done: AllNetworks, console: Console, network: Network, seed: int, progress: Progress) -> None:
    inputs = network.inputs(seed)
    report = check(network.program, *inputs, seed=seed)
    entry = _checked(done, console, network.title, report)
    if network.epochs:
        entry["training"], _ = _trained(done, console, network, inputs, seed, progress)


def _checked(done: AllNetworks, console: Console, title: str, report: Report) -> dict[str, Any]:
    entry: dict[str, Any] = {"report": report.to_dict()}
    done.data["networks"][title] = entry
    if report.verdict == "pass":
        inside = sum(gradient.label.startswith("intermediate") for gradient in report.gradients)
        _say(
            console,
            f"{title}: pass - {len(report.gradients)} gradients agree with {report.oracle}, {inside} of them of intermediates; "
            f"{report.seconds:.1f} s",
        )
        print_fitted(finding_lines(report)[1:], console)
        return entry
    print_fitted([(f"{title}: {report.verdict}", "bold")], console)
    print_report(report, console)
    (done.problems if report.verdict == "fail" else done.unsure).append(f"{title}: the check says {report.verdict}")
    return entry


def _trained(
    done: AllNetworks, console: Console, network: Network, inputs: tuple[Any, ...], seed: int, progress: Progress
) -> tuple[dict[str, Any], Parameters]:
    x, target, *start = inputs
    bar = progress.add_task(f"  training {network.title}", total=network.epochs)
    run = train(
        network.program,
        x,
        target,
        tuple(start),
        epochs=network.epochs,
        rate=network.rate,
        batch=len(x),
        seed=seed,
        on_step=partial(progress.advance, bar),
    )
    progress.remove_task(bar)
    name, largest = max(run.differences.items(), key=lambda item: (math.isnan(item[1]), item[1]))
    done.problems += [f"{network.title}: {problem}" for problem in problems_of(run)]
    _say(
        console,
        f"  trained {network.epochs} epochs on {len(x)} rows: loss {run.hand_written_losses[0]:.4g} to "
        f"{run.hand_written_losses[-1]:.4g} by the hand-written gradients, {run.autograd_losses[-1]:.4g} by autograd; "
        f"largest relative difference {largest:.1e} ({name})",
    )
    entry = {
        "largest_difference": largest,
        "largest_in": name,
        "differences": run.differences,
        "losses": {"hand-written": run.hand_written_losses, "autograd": run.autograd_losses},
    }
    return entry, run.hand_written


def problems_of(run: Run) -> list[str]:
    """What is wrong with a training in lockstep: sides that differ by more than rounding, a loss that does not fall."""
    problems = []
    worst = max(run.differences.values(), key=lambda value: (math.isnan(value), value))
    if not worst <= DRIFT:
        problems.append(f"a gradient differed by {worst:.1e}, more than rounding explains")
    if not run.hand_written_losses[-1] < run.hand_written_losses[0]:
        problems.append("the hand-written gradients did not lower the loss")
    return problems


def _three_ways(done: AllNetworks, console: Console, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (5,), generator=generator)
    parameters = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((6, 4), (6,), (3, 6), (3,)))
    done.data["three_ways"] = {}
    for title, network in (("sigmoid", sigmoid_net), ("relu", relu_net)):
        rows = three_ways(network, x, target, parameters)
        _say(console, f"two layers with {title}, three ways: {table_lines(rows)[0]}")
        _say(console, *(f"  {line}" for line in table_lines(rows)[1:]))
        done.data["three_ways"][title] = {row.name: [row.from_autograd, row.from_central] for row in rows}
        if not all(row.from_autograd <= DRIFT and row.from_central <= CENTRAL for row in rows):
            done.problems.append(f"two layers with {title}: the three gradients differ")


def _classify(done: AllNetworks, console: Console, seed: int, progress: Progress) -> None:
    title = "classifier as in NumPy"
    images = load_images().first(TRAINING_IMAGES)
    x, label = numpy_classifier.with_ones(images.train_pixels), numpy_classifier.one_hot(images.train_digits)
    start = numpy_classifier.initial_weights(images.train_pixels.shape[1], seed)
    _say(console, images.source)
    report = check(numpy_classifier.numpy_classifier, x[:101], label[:101], *start, seed=seed)
    entry = _checked(done, console, title, report)
    network = Network(title, numpy_classifier.numpy_classifier, lambda seed: (), numpy_classifier.RATE, numpy_classifier.EPOCHS)
    entry["training"], weights = _trained(done, console, network, (x, label, *start), seed, progress)
    loss, accuracy = numpy_classifier.scores_on_test(images, *weights)
    entry |= {"source": images.source, "test_loss": loss, "test_accuracy": accuracy}
    _say(console, f"  test loss {loss:.4g}, test accuracy {accuracy:.4g}")


def _closing(done: AllNetworks) -> str:
    networks = done.data["networks"]
    if done.problems or done.unsure:
        return f"demo --all: {done.verdict} - {'; '.join([*done.problems, *done.unsure])}"
    gradients = sum(len(entry["report"]["gradients"]) for entry in networks.values())
    return (
        f"demo --all: pass - {gradients} gradients of {len(networks)} networks agree, and those that train do so alike on both "
        f"sides; {done.data['seconds']:.1f} s"
    )


def _say(console: Console, *texts: str) -> None:
    lines: list[Line] = [(text, "") for text in texts]
    print_fitted(lines, console)
