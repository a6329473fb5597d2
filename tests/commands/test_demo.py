"""The demo: one small run, everything it prints and writes, and that it fails when something is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from gradcheck_lab import InvalidArgument, Report
from gradcheck_lab.commands import demo
from gradcheck_lab.commands.cli import main
from gradcheck_lab.networks.data import Digits
from gradcheck_lab.networks.mistakes import classifier_without_mean
from gradcheck_lab.networks.tasks import Task, digits_tasks
from gradcheck_lab.render.plot import plot_training

CLASSIFIER, REGRESSOR = "classifier 64-32-10", "regressor 64-30-1"


@dataclass(frozen=True)
class Finished:
    code: int
    text: str
    data: dict[str, Any]
    picture: bytes


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("demo")
    out = io.StringIO()
    arguments = ["demo", "--epochs", "2", "--seed", "3"]
    files = ["--json", str(folder / "demo.json"), "--plot", str(folder / "demo.png")]
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stopped:
        main([*arguments, *files])
    data = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    return Finished(int(stopped.value.code or 0), out.getvalue(), data, (folder / "demo.png").read_bytes())


def test_demo_passes(finished: Finished) -> None:
    assert finished.code == 0
    assert finished.data["passed"]
    assert finished.data["problems"] == []
    assert finished.text.splitlines()[-1] == (
        f"demo: pass - every gradient agrees, both sides train alike, 3 of 3 mistakes caught; {finished.data['seconds']:.1f} s"
    )


def test_demo_says_what_data_it_runs_on(finished: Finished) -> None:
    assert finished.text.splitlines()[0] == (
        "digits: 1437 training and 360 validation images, 64 standardised pixels each; seed 3"
    )


@pytest.mark.parametrize(("title", "width", "count"), [(CLASSIFIER, 10, 8), (REGRESSOR, 1, 9)])
def test_demo_checks_every_gradient_on_the_whole_training_set(finished: Finished, title: str, width: int, count: int) -> None:
    report = Report.from_dict(finished.data["checks"][title])
    assert report.verdict == "pass"
    assert f"{report.subject}: pass - {count} gradients agree with {report.oracle}" in finished.text.splitlines()
    shapes = {gradient.name: gradient.shape for gradient in report.gradients}
    assert len(shapes) == count
    assert shapes["Z2"] == (1437, width)
    assert {"A1", "Z1", "x", "W1", "b1", "W2", "b2"} < shapes.keys()


@pytest.mark.parametrize(("title", "metric"), [(CLASSIFIER, "validation accuracy"), (REGRESSOR, "validation loss")])
def test_demo_trains_both_sides_to_the_same_end(finished: Finished, title: str, metric: str) -> None:
    entry = finished.data["training"][title]
    steps = 2 * 23
    assert [len(losses) for losses in entry["losses"].values()] == [steps, steps]
    assert entry["hand_written"] == pytest.approx(entry["autograd"], rel=demo.DRIFT)
    assert sorted(entry["differences"]) == ["A1", "W1", "W2", "Z1", "Z2", "b1", "b2"]
    assert 0 < entry["largest_difference"] == max(entry["differences"].values()) < demo.DRIFT
    lines = finished.text.splitlines()
    at = lines.index(
        f"{title}: {metric} {entry['hand_written']:.6g} by the hand-written gradients, {entry['autograd']:.6g} by autograd"
    )
    assert lines[at + 1] == (
        f"  largest relative difference of any gradient in {steps} steps: "
        f"{entry['largest_difference']:.1e} ({entry['largest_in']})"
    )


def test_demo_learns(finished: Finished) -> None:
    assert finished.data["training"][CLASSIFIER]["hand_written"] > 0.8
    # the variance of ten equally likely digits is 8.25
    assert finished.data["training"][REGRESSOR]["hand_written"] < 8.25


@pytest.mark.parametrize("title", [CLASSIFIER, REGRESSOR])
def test_demo_shows_a_progress_bar_to_the_end(finished: Finished, title: str) -> None:
    bars = [line for line in finished.text.splitlines() if line.startswith(title) and "%" in line]
    assert len(bars) == 1
    assert "100%" in bars[0]


@pytest.mark.parametrize(
    ("title", "story"),
    [
        ("rank-1 target", "(prediction - target) ** 2 of (N, 1) and (N,), whose backward was written for (N, 1)"),
        ("forgotten 1/N", "the loss is a mean over the batch and its backward does not divide"),
        ("wrong bias reduction", "the gradient of the bias is averaged over the batch, not summed"),
    ],
)
def test_demo_catches_a_planted_mistake_and_explains_it(finished: Finished, title: str, story: str) -> None:
    entry = finished.data["mistakes"][title]
    report = Report.from_dict(entry["report"])
    assert entry["caught"]
    assert report.verdict == "fail"
    lines = finished.text.splitlines()
    at = lines.index(f"{title}: caught - {story}")
    assert lines[at + 1] == f"{report.subject}: {report.findings[0].message}"
    assert f"  cause: {report.findings[0].cause} - {report.findings[0].explanation}" in lines


def test_demo_shows_that_the_op_itself_refuses_the_rank_1_target(finished: Finished) -> None:
    assert (
        "  the library's own op: InvalidArgument: mse_loss: prediction has shape (101, 1) and target (101,); "
        "they would broadcast to (101, 101); pass target.reshape((101, 1))"
    ) in finished.text.splitlines()


def test_demo_draws_a_picture(finished: Finished) -> None:
    assert finished.picture.startswith(b"\x89PNG")
    assert len(finished.picture) > 10_000


def test_demo_data_names_what_they_depend_on(finished: Finished) -> None:
    assert finished.data["schema"] == demo.SCHEMA
    assert finished.data["seed"] == 3
    assert finished.data["environment"]["torch"] == torch.__version__


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(seed: int) -> Digits:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(130, 64, generator=generator).double()
        digits = torch.randint(0, 10, (130,), generator=generator)
        return Digits(x[:110], digits[:110], x[110:], digits[110:])

    monkeypatch.setattr(demo, "load", load)


def tasks_with(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    def tasks(digits: Digits) -> tuple[Task, Task]:
        classifier, regressor = digits_tasks(digits)
        return replace(classifier, **changes), regressor

    monkeypatch.setattr(demo, "digits_tasks", tasks)


def closing_line_of_a_small_run(epochs: int = 2) -> str:
    out = io.StringIO()
    result = demo.run(epochs=epochs, console=Console(file=out))
    assert result.data["passed"] == (not result.problems)
    return out.getvalue().splitlines()[-1]


@pytest.mark.usefixtures("few_images")
def test_demo_fails_when_a_gradient_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks_with(monkeypatch, network=classifier_without_mean)
    monkeypatch.setattr(demo, "MISTAKES", ())
    line = closing_line_of_a_small_run()
    assert line.startswith(
        "demo: fail - classifier 64-32-10: the check says fail; classifier 64-32-10: a gradient differed by "
    )
    assert "classifier 64-32-10: the validation accuracy of the sides differ, " in line


@pytest.mark.usefixtures("few_images")
def test_demo_names_each_problem_exits_1_and_repeats_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tasks_with(monkeypatch, rate=-0.3)
    monkeypatch.setattr(demo, "MISTAKES", (replace(demo.MISTAKES[0], op="linear (Z1)"),))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--epochs", "2", "--seed", "5", "--json", str(tmp_path / "demo.json")])
    assert stopped.value.code == 1
    problems = ["classifier 64-32-10: the hand-written gradients did not lower the loss", "rank-1 target: not caught"]
    assert capsys.readouterr().out.splitlines()[-1] == f"demo: fail - {'; '.join(problems)}"
    first = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert (first["passed"], first["problems"]) == (False, problems)
    second = demo.run(epochs=2, seed=5, console=Console(file=io.StringIO()))
    assert second.problems == problems
    assert first["training"] == second.data["training"]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_demo_without_an_epoch_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        demo.run(epochs=0)
    assert str(caught.value) == "epochs is 0; pass at least 1"


def test_demo_without_matplotlib_names_what_to_install_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--plot", str(tmp_path / "demo.png")])
    assert stopped.value.code == 2
    assert capsys.readouterr() == (
        "",
        "error: a plot needs matplotlib, which is not installed; pip install 'gradcheck_lab[demo]'\n",
    )


def test_plot_draws_gradients_without_any_difference(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    plot_training(path, {"net": {"hand-written": [2.0, 1.0], "autograd": [2.0, 1.0]}}, {"net": {"W": 0.0}})
    assert path.read_bytes().startswith(b"\x89PNG")
