"""The marker `gradcheck(allow=...)`: declared exceptions, which carry a reason and have to happen."""

import pytest

from gradcheck_lab.model.causes import CAUSES
from tests.pytesting.suite import run

pytest_plugins = ["pytester"]


def test_declared_exception_passes_and_is_listed_with_its_reason(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.gradcheck(allow={"constant-factor": "the paper drops the 2"})
def test_it(gradcheck):
    gradcheck(doubled)
"""
    result = run(pytester, body)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["allowed in 1 test: constant-factor (the paper drops the 2)"])


def test_exception_that_no_longer_happens_fails(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.gradcheck(allow={"constant-factor": "the paper drops the 2"})
def test_it(gradcheck):
    gradcheck(ops.relu)
"""
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    expected = "'constant-factor' is allowed here (the paper drops the 2) and no longer happens; remove it from allow"
    assert expected in result.outlines


def test_exception_excuses_no_other_cause(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.gradcheck(allow={"sign": "the paper turns it round"})
def test_it(gradcheck):
    gradcheck(doubled)
"""
    run(pytester, body).assert_outcomes(failed=1)


def test_exception_for_one_dtype_is_none_in_another(pytester: pytest.Pytester) -> None:
    body = """
def rough(g, output, x):
    factor = 2 if x.dtype == torch.float32 else 1
    return (g * factor,)

rough_identity = gl.Op(lambda x: 1 * x, rough, name="rough", specs=(real("n"),))

@pytest.mark.gradcheck(dtypes=["float64"])
@pytest.mark.gradcheck(allow={"constant-factor": "known there"}, dtypes=["float32"])
def test_it(gradcheck):
    gradcheck(rough_identity, probes=())
"""
    run(pytester, body).assert_outcomes(passed=2)


def test_module_and_case_may_carry_the_marker(pytester: pytest.Pytester) -> None:
    body = """
pytestmark = pytest.mark.gradcheck(allow={"constant-factor": "the paper drops the 2"})
one = pytest.mark.gradcheck(allow={"sign": "turned round"})
negated = gl.Op(torch.relu, lambda g, output, x: (-g * (x > 0),), name="negated", specs=(real("n d"),))

@pytest.mark.parametrize("ops", [(doubled,), pytest.param((doubled, negated), marks=one)])
def test_it(gradcheck, ops):
    for op in ops:
        gradcheck(op)
"""
    run(pytester, body).assert_outcomes(passed=2)


KNOWN = "allow, dtypes, devices, wrt, isolate, timeout, memory_limit"
BAD = {
    "no reasons": ("allow={'sign'}", "allow of the gradcheck marker has no reasons; write allow={'sign': 'why it is right'}"),
    "one name": ("allow='sign'", "allow of the gradcheck marker has no reasons; write allow={'sign': 'why it is right'}"),
    "empty reason": (
        "allow={'sign': ' '}",
        "allow of the gradcheck marker has no reason for 'sign'; say why it is right",
    ),
    "no cause": (
        "allow={'sing': 'so'}",
        f"allow of the gradcheck marker names 'sing', which is no cause; known: {', '.join(sorted(CAUSES))}",
    ),
    "timeout": ("timeout=0", "timeout of the gradcheck marker is 0; pass a number of seconds above 0"),
    "isolate": ("isolate=1", "isolate of the gradcheck marker is 1; pass True or False"),
    "unknown keyword": ("dtype=['float32']", f"the gradcheck marker has no 'dtype'; it takes {KNOWN}"),
    "positional": ("'sign'", f"the gradcheck marker takes keywords only; it takes {KNOWN}"),
    "string": ("dtypes='float32'", "dtypes of the gradcheck marker is 'float32'; pass a list: dtypes=['float32']"),
    "unknown dtype": (
        "dtypes=['float8']",
        "dtypes of the gradcheck marker names 'float8'; known: float64, float32, bfloat16, float16",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_marker_that_means_nothing_is_refused_when_tests_are_collected(pytester: pytest.Pytester, name: str) -> None:
    arguments, message = BAD[name]
    result = run(pytester, f"@pytest.mark.gradcheck({arguments})\ndef test_it(gradcheck):\n    gradcheck(doubled)\n")
    result.assert_outcomes(errors=1)
    assert f"test_it: {message}" in result.outlines


def test_marker_of_a_case_that_means_nothing_is_refused(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.gradcheck(allow={"sign"}))])
def test_it(gradcheck, x):
    gradcheck(ops.relu)
"""
    result = run(pytester, body)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_it?1?: allow of the gradcheck marker has no reasons; *"])


def test_marker_without_the_fixture_is_refused(pytester: pytest.Pytester) -> None:
    body = "@pytest.mark.gradcheck(devices=['cpu'])\ndef test_it():\n    pass\n"
    result = run(pytester, body)
    result.assert_outcomes(errors=1)
    assert "test_it: the gradcheck marker acts on the gradcheck fixture; add it to the test's arguments" in result.outlines


def test_marker_is_registered(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--markers", "--strict-markers")
    arguments = "allow={cause: reason}, dtypes=[[]...], devices=[[]...], wrt=[[]...], isolate=True, *"
    result.stdout.fnmatch_lines([f"@pytest.mark.gradcheck({arguments}): *"])


def test_marker_says_which_inputs_need_a_gradient(pytester: pytest.Pytester) -> None:
    body = """
forgets = gl.Op(lambda x, y: (x - y) ** 2, lambda g, output, x, y: (2 * g * (x - y), None), name="forgets")

@pytest.mark.gradcheck(wrt=["x"])
def test_wanted(gradcheck):
    gradcheck(forgets, torch.randn(3), torch.randn(3))

@pytest.mark.gradcheck(wrt=["x"])
@gl.parametrize_checks([(forgets, torch.randn(3), torch.randn(3))], probes=[])
def test_each(gradcheck, check):
    gradcheck(check)

@pytest.mark.gradcheck(wrt=["x"])
def test_argument_before_marker(gradcheck):
    gradcheck(forgets, torch.randn(3), torch.randn(3), wrt=["x", "y"])

def test_unmarked(gradcheck):
    gradcheck(forgets, torch.randn(3), torch.randn(3))
"""
    result = run(pytester, body)
    result.assert_outcomes(passed=2, failed=2)


def test_marker_with_no_names_of_inputs_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "@pytest.mark.gradcheck(wrt=1.5)\ndef test_it(gradcheck):\n    gradcheck(ops.relu)\n")
    assert "wrt is 1.5; pass names or positions of inputs" in result.stdout.str() + result.stderr.str()
