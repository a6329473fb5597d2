"""`--gradcheck-device`: where tensors are, and tests that have no device."""

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

# no machine has this many
MISSING = "cuda:4096"
BODY = """
def test_one(gradcheck):
    assert gradcheck.device == "cpu"
    gradcheck(ops.relu)

def test_two(gradcheck):
    gradcheck(ops.relu)
"""


def test_present_device_runs(pytester: pytest.Pytester) -> None:
    run(pytester, BODY, "--gradcheck-device", "cpu").assert_outcomes(passed=2)


def test_missing_device_skips_with_a_counted_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, BODY, "--gradcheck-device", MISSING, "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines([f"not run: 2 tests, no device '{MISSING}'", f"SKIPPED ?2? *: no device '{MISSING}'"])


def test_several_devices_repeat_each_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, BODY, "--gradcheck-device", "cpu", "--gradcheck-device", MISSING, "-v")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["*::test_one?cpu? PASSED*", f"*::test_one?{MISSING}? SKIPPED*"])


def test_devices_and_dtypes_are_combined(pytester: pytest.Pytester) -> None:
    arguments = ["--gradcheck-device=cpu", f"--gradcheck-device={MISSING}"]
    arguments += ["--gradcheck-dtype=float64", "--gradcheck-dtype=float32"]
    result = run(pytester, "def test_it(gradcheck):\n    gradcheck(ops.relu)\n", "-v", *arguments)
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["*::test_it?cpu-float32? PASSED*", f"*::test_it?{MISSING}-float64? SKIPPED*"])


@pytest.mark.parametrize(
    ("marked", "options", "outcomes"),
    [
        ("cuda", [], {"skipped": 1}),
        ("cpu", [], {"passed": 1}),
        ("cpu", ["cpu"], {"passed": 1}),
        ("cuda", [MISSING], {"skipped": 1}),
        ("cpu", [MISSING], {"skipped": 1}),
        ("cuda:4096", ["cpu", MISSING], {"skipped": 1}),
    ],
)
def test_marker_says_the_devices_of_a_test(
    pytester: pytest.Pytester, marked: str, options: list[str], outcomes: dict[str, int]
) -> None:
    import torch

    if marked == "cuda" and not options and torch.cuda.is_available():
        outcomes = {"passed": 1}
    body = f"@pytest.mark.gradcheck(devices=[{marked!r}])\ndef test_it(gradcheck):\n    gradcheck(ops.relu)\n"
    run(pytester, body, *(f"--gradcheck-device={name}" for name in options)).assert_outcomes(**outcomes)


def test_no_device_of_torch_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, BODY, "--gradcheck-device", "gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --gradcheck-device: 'gpu' names no device of torch; pass cpu, cuda, cuda:1 or the like"]
    )
