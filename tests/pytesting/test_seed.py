"""`--gradcheck-seed`: the seed of what is drawn."""

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

BODY = """
def test_drawn(gradcheck):
    report = gradcheck(ops.linear)
    assert report.seed == gradcheck.seed == SEED

def test_own(gradcheck):
    assert gradcheck(ops.linear, seed=11).seed == 11

@gl.parametrize_checks([ops.relu], probes=[])
def test_planned(gradcheck, check):
    assert gradcheck(check).seed == SEED
"""


@pytest.mark.parametrize(("arguments", "seed"), [([], 0), (["--gradcheck-seed=5"], 5)], ids=["default", "given"])
def test_seed_reaches_every_check(pytester: pytest.Pytester, arguments: list[str], seed: int) -> None:
    run(pytester, f"SEED = {seed}\n{BODY}", *arguments).assert_outcomes(passed=3)


def test_seed_changes_what_is_drawn_and_repeats_it(pytester: pytest.Pytester) -> None:
    body = """
from gradcheck_lab.pytesting.inputs import placed_inputs
from gradcheck_lab.pytesting.marks import Placement

def test_drawn(gradcheck):
    gradcheck(ops.relu)
    print("drawn:", placed_inputs(ops.relu, (), Placement(), gradcheck.seed)[0].sum().item())
    assert 0
"""
    lines = [
        next(line for line in run(pytester, body, f"--gradcheck-seed={seed}").outlines if line.startswith("drawn:"))
        for seed in (1, 1, 2)
    ]
    assert lines[0] == lines[1] != lines[2]


@pytest.mark.parametrize("text", ["-1", "random"])
def test_seed_that_is_no_number_is_refused(pytester: pytest.Pytester, text: str) -> None:
    result = run(pytester, "", f"--gradcheck-seed={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gradcheck-seed is '{text}'; pass a whole number of at least 0"])
