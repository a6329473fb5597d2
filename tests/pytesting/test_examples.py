"""`--gradcheck-examples`: how many calls `gradcheck.fuzz` draws."""

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

BODY = """
def test_fuzz(gradcheck):
    print("examples:", gradcheck.fuzz(ops.relu).examples)
    assert 0

def test_own_number(gradcheck):
    print("examples:", gradcheck.fuzz(ops.relu, max_examples=3).examples)
    assert 0
"""


def test_number_is_that_of_the_option_unless_the_test_has_its_own(pytester: pytest.Pytester) -> None:
    result = run(pytester, BODY, "--gradcheck-examples", "7")
    result.stdout.fnmatch_lines(["examples: 7", "examples: 3"])


def test_fuzzed_failure_shows_the_smallest_call(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_fuzz(gradcheck):\n    gradcheck.fuzz(doubled)\n", "--gradcheck-examples=20")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["doubled: gradient of input 0 'x' is wrong in 1 of 1 elements"])


def test_calls_are_drawn_in_the_dtype_of_the_test(pytester: pytest.Pytester) -> None:
    body = """
wrong_in_16_bits = gl.Op(torch.relu, lambda g, y, x: ((2 if x.element_size() == 2 else 1) * g * (x > 0),), specs=ops.relu.specs)

def test_fuzz(gradcheck):
    gradcheck.fuzz(wrong_in_16_bits)
"""
    result = run(pytester, body, "--gradcheck-dtype=bfloat16", "--gradcheck-examples=20")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the smallest that shows it is x: bfloat16*"])


def test_argument_that_fuzz_does_not_have_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_fuzz(gradcheck):\n    gradcheck.fuzz(ops.relu, examples=3)\n")
    result.stdout.fnmatch_lines(["*fuzz has no argument 'examples'; *"])


@pytest.mark.parametrize("text", ["0", "-3", "many", "1.5"])
def test_number_that_draws_nothing_is_refused(pytester: pytest.Pytester, text: str) -> None:
    result = run(pytester, "", f"--gradcheck-examples={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gradcheck-examples is '{text}'; pass a whole number of at least 1"])
