"""The main job on real data: two networks on the digits, checked, trained on both sides, and with planted mistakes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.check import check
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.environment import environment
from gradcheck_lab.networks import digits_scores, initial_parameters
from gradcheck_lab.networks.data import Digits, load
from gradcheck_lab.networks.lockstep import Parameters, Run, train
from gradcheck_lab.networks.mistakes import MISTAKES, is_caught
from gradcheck_lab.networks.tasks import Task, digits_tasks
from gradcheck_lab.ops import mse_loss
from gradcheck_lab.render.lines import Line
from gradcheck_lab.render.plot import plot_training, require_matplotlib
from gradcheck_lab.render.terminal import finding_lines, print_fitted, print_report

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
BATCH = 64
# A prime number of images, so that a factor of the batch size cannot be taken for another one.
MISTAKE_IMAGES = 101
# The sides drift apart by rounding, most where a gradient nearly cancels; a wrong rule differs by its own size.
DRIFT = 1e-7

Tasks = list[tuple[Task, Parameters]]


@dataclass(slots=True)
class Demo:
    """What the demo found: `problems` is empty when all went as it should; `data` is what `--json` writes."""

    data: dict[str, Any]
    problems: list[str] = field(default_factory=list)


def run(*, seed: int = 0, epochs: int, plot: Path | None = None, console: Console | None = None) -> Demo:
    """Check, train and catch, printing on the way; the same `seed` gives the same figures.

    `plot` names a picture to write. Raises `InvalidArgument` for less than one epoch, and when scikit-learn, or
    matplotlib for a plot, is not installed.
    """
    from rich.console import Console

    if epochs < 1:
        raise InvalidArgument(f"epochs is {epochs}; pass at least 1")
    if plot is not None:
        require_matplotlib()
    console = console or Console()
    started = time.perf_counter()
    digits = load(seed)
    generator = torch.Generator().manual_seed(seed)
    tasks = [(task, initial_parameters(*task.sizes, generator=generator)) for task in digits_tasks(digits)]
    demo = Demo({"schema": SCHEMA, "seed": seed, "environment": environment()})
    _say(
        console,
        f"digits: {len(digits.train_x)} training and {len(digits.validation_x)} validation images, "
        f"64 standardised pixels each; seed {seed}",
    )
    with one_thread():
        _check_networks(demo, console, digits, tasks, seed)
        _train_networks(demo, console, digits, tasks, epochs, seed)
        _catch_mistakes(demo, console, digits, tasks, seed)
    if plot is not None:
        training = demo.data["training"]
        plot_training(
            plot,
            {title: entry["losses"] for title, entry in training.items()},
            {title: entry["differences"] for title, entry in training.items()},
        )
    demo.data |= {
        "passed": not demo.problems,
        "problems": demo.problems,
        "seconds": time.perf_counter() - started,
    }
    _say(console, "", _closing(demo))
    return demo


def _check_networks(demo: Demo, console: Console, digits: Digits, tasks: Tasks, seed: int) -> None:
    _heading(console, "1. Every gradient against autograd, on all training images")
    demo.data["checks"] = {}
    for task, start in tasks:
        report = check(task.network, digits.train_x, task.target, *start, seed=seed)
        print_report(report, console)
        demo.data["checks"][task.title] = report.to_dict()
        if report.verdict != "pass":
            demo.problems.append(f"{task.title}: the check says {report.verdict}")


def _train_networks(demo: Demo, console: Console, digits: Digits, tasks: Tasks, epochs: int, seed: int) -> None:
    from rich.progress import Progress

    _heading(console, f"2. Both sides trained in lockstep from the same start, {epochs} epochs")
    runs: list[Run] = []
    with Progress(console=console) as progress:
        for task, start in tasks:
            bar = progress.add_task(task.title, total=epochs * -(-len(digits.train_x) // BATCH))
            runs.append(
                train(
                    task.network,
                    digits.train_x,
                    task.target,
                    start,
                    epochs=epochs,
                    rate=task.rate,
                    batch=BATCH,
                    seed=seed,
                    on_step=partial(progress.advance, bar),
                )
            )
    demo.data["training"] = {}
    for (task, _), run in zip(tasks, runs, strict=True):
        entry = _trained(task, run)
        demo.data["training"][task.title] = entry
        demo.problems += [f"{task.title}: {problem}" for problem in entry["problems"]]
        _say(
            console,
            f"{task.title}: {task.metric} {entry['hand_written']:.6g} by the hand-written gradients, "
            f"{entry['autograd']:.6g} by autograd",
            f"  largest relative difference of any gradient in {len(run.autograd_losses)} steps: "
            f"{entry['largest_difference']:.1e} ({entry['largest_in']})",
        )


def _trained(task: Task, run: Run) -> dict[str, Any]:
    ours, theirs = task.score(run.hand_written), task.score(run.autograd)
    name, largest = max(run.differences.items(), key=lambda item: (math.isnan(item[1]), item[1]))
    problems = []
    if not all(value <= DRIFT for value in run.differences.values()):
        problems.append(f"a gradient differed by {largest:.1e}, more than rounding explains")
    if not abs(ours - theirs) <= DRIFT * abs(theirs):
        problems.append(f"the {task.metric} of the sides differ, {ours} and {theirs}")
    if not run.hand_written_losses[-1] < run.hand_written_losses[0]:
        problems.append("the hand-written gradients did not lower the loss")
    return {
        "metric": task.metric,
        "hand_written": ours,
        "autograd": theirs,
        "largest_difference": largest,
        "largest_in": name,
        "differences": run.differences,
        "losses": {"hand-written": run.hand_written_losses, "autograd": run.autograd_losses},
        "problems": problems,
    }


def _catch_mistakes(demo: Demo, console: Console, digits: Digits, tasks: Tasks, seed: int) -> None:
    _heading(console, f"3. Planted mistakes, on {MISTAKE_IMAGES} images")
    (_, classifier), (_, regressor) = tasks
    demo.data["mistakes"] = {}
    x, labels = digits.train_x[:MISTAKE_IMAGES], digits.train_digits[:MISTAKE_IMAGES]
    calls = {
        "classification": (x, labels, *classifier),
        "vector regression": (x, labels.double(), *regressor),
    }
    for mistake in MISTAKES:
        report = check(mistake.network, *calls[mistake.task], seed=seed)
        caught = is_caught(mistake, report)
        demo.data["mistakes"][mistake.title] = {"caught": caught, "report": report.to_dict()}
        if not caught:
            demo.problems.append(f"{mistake.title}: not caught")
        _say(console, f"{mistake.title}: {'caught' if caught else 'NOT CAUGHT'} - {mistake.story}")
        print_fitted(finding_lines(report), console)
        if mistake.task == "vector regression":
            _say(console, f"  the library's own op: {_refusal(*calls[mistake.task])}")


def _refusal(x: torch.Tensor, target: torch.Tensor, *parameters: torch.Tensor) -> str:
    try:
        mse_loss(digits_scores(x, *parameters), target)
    except InvalidArgument as error:
        return f"InvalidArgument: {error}"
    return "accepts it"


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block on one thread of torch's."""
    # Small matrices: threads gain nothing, and cost ten times as much where another process holds a core.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _closing(demo: Demo) -> str:
    if demo.problems:
        return f"demo: fail - {'; '.join(demo.problems)}"
    return (
        f"demo: pass - every gradient agrees, both sides train alike, {len(MISTAKES)} of {len(MISTAKES)} "
        f"mistakes caught; {demo.data['seconds']:.1f} s"
    )


def _heading(console: Console, text: str) -> None:
    lines: list[Line] = [("", ""), (text, "bold")]
    print_fitted(lines, console)


def _say(console: Console, *texts: str) -> None:
    print_fitted([(text, "") for text in texts], console)
