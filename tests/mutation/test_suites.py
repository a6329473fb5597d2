"""The author's own tests: which of them notice a mutant, on the command line and in a session of pytest."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from tests.command_line import exit_code
from tests.edits.written import module_of

pytest_plugins = ["pytester"]

LAYERS = """
import torch

class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum(0)
"""
# the module is imported by its path, as the tests of this package import it
TESTS = """
import sys
import torch
Scaled = sys.modules["{module}"].Scaled

def test_with_ones():
    x, w = torch.ones(4, 3, requires_grad=True), torch.full((3,), 2.0, requires_grad=True)
    Scaled.apply(x, w).sum().backward()
    assert torch.allclose(x.grad, w.detach().expand(4, 3))
    assert torch.allclose(w.grad, x.detach().sum(0))

def test_of_something_else():
    assert torch.ones(1) == 1

def test_that_fails():
    assert "{module}" == "wrong"
"""
X = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3)
W = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    module = module_of(tmp_path, LAYERS)
    sys.modules[module.__name__] = module
    (tmp_path / "test_layers.py").write_text(TESTS.replace("{module}", module.__name__))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def mutated(folder: Path, *arguments: str, **keywords: object) -> gl.MutationReport:
    name = re.findall(r'modules\["(.*)"\]', (folder / "test_layers.py").read_text())[0]
    return gl.mutate(
        sys.modules[name].Scaled, X, W, tests=["-c", str(folder / "pytest.ini"), str(folder), *arguments], **keywords
    )  # type: ignore[arg-type]


@pytest.mark.thorough
def test_ones_as_upstream_do_not_notice_that_the_upstream_is_dropped(folder: Path) -> None:
    report = mutated(folder, "-k", "ones", kinds={"drop-upstream", "return-none"})
    assert {mutant.after: (mutant.tests, mutant.check) for mutant in report.mutants} == {
        "return torch.ones_like(g) * w, (g * x).sum(0)": ("missed", "noticed"),
        "return g * w, (torch.ones_like(g) * x).sum(0)": ("missed", "noticed"),
        "return None, (g * x).sum(0)": ("noticed", "noticed"),
        "return g * w, None": ("noticed", "noticed"),
    }
    assert [mutant.by.rpartition("::")[2] for mutant in report.mutants if mutant.by] == ["test_with_ones", "test_with_ones"]
    assert (report.verdict, report.touching) == ("fail", 1)
    assert str(report).startswith("Scaled: 2 of 4 mutants noticed by your tests\n4 of 4 mutants noticed by check\n")
    assert "def test_gradients_of_scaled():\n    gl.assert_gradients(" in report.test


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-k", "something"), "none of the 1 tests of .* runs Scaled.backward in its own process; pass those that do"),
        (("-k", "nothing"), "pytest .* collects no test; pass the arguments with which it runs yours"),
        (("--no-such-option",), "pytest .* ends with exit code 4 before any test; run it by itself first"),
    ],
)
def test_tests_that_cannot_notice_anything_are_refused(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=f"^{message}$"):
        mutated(folder, *arguments, kinds={"double"})


def test_a_test_that_fails_without_an_edit_is_refused(folder: Path) -> None:
    text = (folder / "test_layers.py").read_text().replace("expand(4, 3))", "expand(4, 3) + 1)")
    (folder / "test_layers.py").write_text(text)
    message = r"test_with_ones fails without any edit of Scaled.backward; mend it, or leave it out with --deselect$"
    with pytest.raises(gl.InvalidArgument, match=message):
        mutated(folder, "-k", "ones", kinds={"double"})


def test_the_command_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "layers.py").write_text(LAYERS)
    data, page = tmp_path / "mutants.json", tmp_path / "mutants.html"
    specs = ("--spec", "real('n d')", "--spec", "real('d')")
    chosen = ("--kind", "return-none", "--max", "1", "--json", str(data), "--html", str(page))
    assert exit_code("mutate", f"{tmp_path / 'layers.py'}:Scaled", *specs, *chosen) == 0
    assert capsys.readouterr().out.splitlines() == ["Scaled: 1 of 1 mutants noticed by check", "not counted: 1 left out"]
    assert gl.MutationReport.from_dict(json.loads(data.read_text())).verdict == "pass"
    assert "<h1>Mutants of Scaled</h1>" in page.read_text()


def test_misuse_of_the_command_exits_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("mutate", "gradcheck_lab.ops") == 2
    assert capsys.readouterr().err == "error: mutate takes one object; write gradcheck_lab.ops as gradcheck_lab.ops:name\n"
    assert exit_code("mutate", "gradcheck_lab.ops:relu", "--html", str(tmp_path / "no" / "x.html")) == 2


@pytest.mark.thorough
def test_a_session_counts_the_mutants_that_its_tests_notice(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(layers=LAYERS)
    pytester.makepyfile(
        TESTS.replace('sys.modules["{module}"].Scaled', "__import__('layers').Scaled").split("def test_that_fails")[0]
    )
    result = pytester.runpytest_subprocess("--gradcheck-mutate", "-p", "no:cacheprovider", "-n", "0")
    result.assert_outcomes(passed=2)
    result.stdout.re_match_lines([r"gradients: \d+ of \d+ mutants noticed by your tests"])
    result.stdout.fnmatch_lines(
        ["your tests would not notice this: ones stand in the place of the upstream gradient (drop-upstream,*"]
    )


def test_a_session_in_other_processes_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest_subprocess("--gradcheck-mutate", "-n", "1")
    result.stderr.fnmatch_lines(["*--gradcheck-mutate runs the tests in forks of this process; add -n 0*"])


def test_a_suite_that_does_not_use_this_package_is_perturbed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = exit_code("mutate", "--inject", "torch", "--", "pytest", "-c", str(folder / "pytest.ini"), str(folder), "-k", "ones")
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].endswith(": 10 of 10 mutants noticed by your tests")


def test_a_suite_that_does_not_look_at_a_gradient_notices_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "test_layers.py").read_text().replace("    assert torch.allclose(w.grad, x.detach().sum(0))\n", "")
    (folder / "test_layers.py").write_text(text)
    code = exit_code("mutate", "--inject", "torch", "--", "pytest", "-c", str(folder / "pytest.ini"), str(folder), "-k", "ones")
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0].endswith(": 5 of 10 mutants noticed by your tests")
    assert (
        sum(line.startswith("your tests would not notice this: one element of gradient 1 is NaN (nan, ") for line in lines) == 1
    )


def test_a_rule_that_belongs_to_no_module_is_left_in_peace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `exec` makes in a bare namespace has no module: its functions say None."""
    space: dict[str, Any] = {"torch": torch}
    exec("class Bare(torch.autograd.Function):\n    @staticmethod\n    def backward(ctx, g):\n        return g\n", space)
    assert space["Bare"].backward.__module__ is None
    arguments = ("-c", str(folder / "pytest.ini"), str(folder), "-k", "something")
    assert exit_code("mutate", "--inject", "torch", "--", "pytest", *arguments) == 2
    assert capsys.readouterr().err == "error: none of the 1 tests that pytest collects runs a hand-written rule of torch\n"


def test_a_suite_without_a_rule_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("-c", str(folder / "pytest.ini"), str(folder), "-k", "something")
    assert exit_code("mutate", "--inject", "torch", "--", "pytest", *arguments) == 2
    assert capsys.readouterr().err == "error: none of the 1 tests that pytest collects runs a hand-written rule of torch\n"
    assert exit_code("mutate", "--inject", "numpy", "--", "pytest") == 2
    assert capsys.readouterr().err == (
        "error: --inject is 'numpy'; only the rules of torch are perturbed: --inject torch -- pytest tests/\n"
    )
    assert exit_code("mutate", "gradcheck_lab.ops:relu", "pytest", "tests") == 2
    assert (
        capsys.readouterr().err
        == "error: mutate takes one object, and 3 were given; the tests go into --tests 'pytest tests'\n"
    )
