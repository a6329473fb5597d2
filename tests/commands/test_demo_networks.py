"""`demo --all`: what it prints and writes, and that it fails, or is unsure, when a network is."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from gradcheck_lab import check, ops
from gradcheck_lab.commands import demo_networks
from gradcheck_lab.networks.mistakes import classifier_without_mean
from gradcheck_lab.networks.mnist import Images
from gradcheck_lab.networks.reference import NETWORKS, Network
from tests.command_line import exit_code

APPLES, CLASSIFIER = (next(n for n in NETWORKS if n.title == title) for title in ("apples and tax", "digits classifier"))
SMALL = replace(CLASSIFIER, epochs=2)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_images() -> Images:
        generator = torch.Generator().manual_seed(0)
        digits = torch.randint(0, 10, (150,), generator=generator)
        pixels = torch.rand(150, 20, generator=generator).double()
        return Images(pixels[:120], digits[:120], pixels[120:], digits[120:], "a few, 120 training and 30 test images")

    monkeypatch.setattr(demo_networks, "NETWORKS", (APPLES, SMALL))
    monkeypatch.setattr(demo_networks, "load_images", load_images)


def run(monkeypatch: pytest.MonkeyPatch, *networks: Network) -> tuple[demo_networks.AllNetworks, list[str]]:
    monkeypatch.setattr(demo_networks, "NETWORKS", networks)
    out = io.StringIO()
    done = demo_networks.run_all(seed=1, console=Console(file=out, width=200))
    return done, out.getvalue().splitlines()


def test_demo_all_verifies_and_trains_every_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.json"
    assert exit_code("demo", "--all", "--seed", "1", "--json", str(path)) == 0
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    lines = capsys.readouterr().out.splitlines()
    assert data["verdict"] == "pass"
    assert data["problems"] == []
    assert list(data["networks"]) == ["apples and tax", "digits classifier", "classifier as in NumPy"]
    assert any(
        line.startswith("apples and tax: pass - 4 gradients agree with autograd in float64, 1 of them of intermediates; ")
        for line in lines
    )
    training = data["networks"]["digits classifier"]["training"]
    at = next(i for i, line in enumerate(lines) if line.startswith("digits classifier: pass - 8 gradients agree"))
    losses = training["losses"]["hand-written"]
    assert lines[at + 1] == (
        f"  trained 2 epochs on 64 rows: loss {losses[0]:.4g} to {losses[1]:.4g} by the hand-written gradients, "
        f"{training['losses']['autograd'][1]:.4g} by autograd; largest relative difference "
        f"{training['largest_difference']:.1e} ({training['largest_in']})"
    )
    numpy_style = data["networks"]["classifier as in NumPy"]
    assert len(numpy_style["training"]["losses"]["autograd"]) == 50
    assert "a few, 120 training and 30 test images" in lines
    bars = [line for line in lines if line.startswith("networks ")]
    assert len(bars) == 1
    assert "4/4" in bars[0]
    assert f"  test loss {numpy_style['test_loss']:.4g}, test accuracy {numpy_style['test_accuracy']:.4g}" in lines
    assert list(data["three_ways"]) == ["sigmoid", "relu"]
    assert list(data["three_ways"]["relu"]) == ["W1", "b1", "W2", "b2"]
    assert lines[-1] == (
        f"demo --all: pass - 24 gradients of 3 networks agree, and those that train do so alike on both sides; "
        f"{data['seconds']:.1f} s"
    )


def test_demo_all_fails_with_a_wrong_network_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(demo_networks, "NETWORKS", (replace(SMALL, program=classifier_without_mean),))
    path = tmp_path / "all.json"
    assert exit_code("demo", "--all", "--json", str(path)) == 1
    data, lines = json.loads(path.read_text(encoding="utf-8")), capsys.readouterr().out.splitlines()
    assert data["verdict"] == "fail"
    assert "digits classifier: fail" in lines
    assert any("cause: constant-factor" in line for line in lines)
    first, second = data["problems"][:2]
    assert first == "digits classifier: the check says fail"
    assert second.startswith("digits classifier: a gradient differed by ")
    assert lines[-1] == f"demo --all: fail - {'; '.join(data['problems'])}"


def test_demo_all_fails_where_training_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = run(monkeypatch, replace(SMALL, rate=-0.3))
    assert done.problems == ["digits classifier: the hand-written gradients did not lower the loss"]


def test_demo_all_fails_where_central_differences_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ops.sigmoid.rule
    assert rule is not None
    monkeypatch.setattr(ops.sigmoid, "rule", lambda *arguments: (1.001 * rule(*arguments)[0],))
    done, _ = run(monkeypatch, APPLES)
    assert done.problems == ["two layers with sigmoid: the three gradients differ"]


def test_demo_all_is_inconclusive_where_a_check_is_and_exits_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def unsure(*arguments: Any, **options: Any) -> Any:
        found = check(*arguments, **options)
        return (
            replace(found, verdict="inconclusive", reasons=("the reference is not finite",)) if len(arguments) == 4 else found
        )

    monkeypatch.setattr(demo_networks, "check", unsure)
    monkeypatch.setattr(demo_networks, "NETWORKS", (APPLES,))
    path = tmp_path / "all.json"
    assert exit_code("demo", "--all", "--json", str(path)) == 3
    assert json.loads(path.read_text(encoding="utf-8"))["verdict"] == "inconclusive"
    assert capsys.readouterr().out.splitlines()[-1] == "demo --all: inconclusive - apples and tax: the check says inconclusive"


def test_demo_all_repeats_with_its_seed_and_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first, second = (run(monkeypatch, SMALL)[0].data["networks"] for _ in range(2))
    assert [entry["training"] for entry in first.values()] == [entry["training"] for entry in second.values()]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--plot", "losses.png"), "--plot draws the training of the two digits networks; leave --all or --plot out"),
        (("--epochs", "3"), "--epochs is for the two digits networks, each other one has its own; leave --all or --epochs out"),
    ],
    ids=["plot", "epochs"],
)
def test_demo_all_misused_exits_2(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("demo", "--all", *arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
