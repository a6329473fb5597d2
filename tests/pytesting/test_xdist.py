"""The plugin under pytest-xdist, other import modes, and the user's own Hypothesis profile."""

import json
import sys

import pytest

from tests.pytesting.suite import HEAD, STRIDED, run

pytest_plugins = ["pytester"]

BODY = """
@gl.parametrize_checks([ops.relu, strided], probes=["upstream", "upstream_layout"])
def test_ops(gradcheck, check):
    gradcheck(check)

@pytest.mark.gradcheck(allow={"constant-factor": "drops the 2"})
def test_allowed(gradcheck):
    gradcheck(doubled)

@pytest.mark.gradcheck(devices=["cuda:4096"])
def test_elsewhere(gradcheck):
    gradcheck(ops.relu)
"""


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("one_thread")
def test_workers_are_aggregated_into_one_summary_and_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(HEAD + STRIDED + BODY)
    arguments = ["-p", "no:cacheprovider", "--import-mode=importlib", "--gradcheck-report=found.json", "-rN"]
    result = pytester.runpytest_subprocess("-n2", *arguments)
    result.assert_outcomes(passed=6, failed=1, skipped=1)
    summary = [line for line in result.outlines if line.startswith(("relu", "strided", "doubled", "allowed", "not run"))]
    assert [line.split()[:3] for line in sorted(summary)] == [
        ["allowed", "in", "1"],
        ["doubled", "pass", "1"],
        ["not", "run:", "1"],
        ["relu", "pass", "3"],
        ["strided", "fail", "3"],
        ["strided:", "gradient", "of"],
    ]
    result.stdout.fnmatch_lines(["upstream-layout: 1 error"])
    found = json.loads((pytester.path / "found.json").read_text(encoding="utf-8"))
    assert len(found["records"]) == 7
    assert found["not_run"] == {"no device 'cuda:4096'": 1}


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_import_modes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = run(pytester, STRIDED + BODY, f"--import-mode={mode}")
    result.assert_outcomes(passed=6, failed=1, skipped=1)


PROFILE = """
from hypothesis import settings
settings.register_profile("few", max_examples=6, deadline=None, database=None)
settings.load_profile("few")
"""
GIVEN = """
from hypothesis import given, settings
from gradcheck_lab import strategies

seen = []

@given(strategies.calls(ops.relu))
def test_relu(gradcheck, case):
    seen.append(case)
    gradcheck(ops.relu, *case.inputs, probes=())

@pytest.mark.gradcheck(allow={"constant-factor": "drops the 2"})
@given(strategies.calls(doubled))
def test_doubled(gradcheck, case):
    gradcheck(doubled, *case.inputs, probes=())

def test_fuzz(gradcheck):
    gradcheck.fuzz(ops.relu)

def test_profile_is_the_users():
    assert settings().max_examples == settings.get_profile("few").max_examples == 6
    assert len(seen) == 6

@given(strategies.calls(doubled))
def test_wrong(case):
    gl.assert_gradients(doubled, *case.inputs, probes=())
"""


def test_hypothesis_runs_by_the_users_profile(pytester: pytest.Pytester) -> None:
    from hypothesis import settings

    before = settings.get_current_profile_name()
    pytester.makeconftest(PROFILE)
    try:
        result = run(pytester, GIVEN)
    finally:
        settings.load_profile(before)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["doubled: gradient of input 0 'x' is wrong in 1 of 1 elements", "*test_wrong(*"])
    result.stdout.no_fnmatch_line("*Traceback*")
