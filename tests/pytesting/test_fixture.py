"""The fixture `gradcheck`: what it asserts, what a failure shows, and tests that could not fail."""

import pytest

from gradcheck_lab.errors import GradientMismatch
from tests.pytesting.suite import HEAD, run

pytest_plugins = ["pytester"]


def test_right_gradient_passes_on_tensors_and_on_inputs_drawn_from_specs(pytester: pytest.Pytester) -> None:
    body = """
def test_tensors(gradcheck):
    assert gradcheck(ops.relu, torch.randn(3)).gradients[0].shape == (3,)

def test_own_specs(gradcheck):
    assert len(gradcheck(ops.linear).gradients) == 3

def test_given_specs(gradcheck):
    assert gradcheck(ops.relu, real("a b c")).gradients[0].shape == (5, 3, 7)
"""
    run(pytester, body).assert_outcomes(passed=3)


def test_failure_shows_the_message_of_the_mismatch_and_nothing_else(pytester: pytest.Pytester) -> None:
    body = """
def test_doubled(gradcheck):
    gradcheck(doubled, torch.tensor([[-1.0, 2.0]]), grad_output=torch.ones(1, 2), probes=())
"""
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    lines = result.outlines
    first = next(i for i, line in enumerate(lines) if "test_doubled" in line and line.startswith("___"))
    last = next(i for i, line in enumerate(lines) if i > first and line.startswith("==="))
    call = "gl.assert_gradients(doubled, torch.tensor([[-1.0, 2.0]]), grad_output=torch.ones(1, 2), probes=())"
    (file,) = pytester.path.glob("test_*.py")
    code = compile(HEAD.lstrip() + call, file, "exec")
    with pytest.raises(GradientMismatch) as raised:
        exec(code, {})
    again, printed = "  reproduce: ", "doubled, torch.tensor([[-1.0, 2.0]]), grad_output=torch.tensor([[1.0, 1.0]]), probes=()"
    shown, expected = lines[first + 1 : last], str(raised.value).splitlines()
    assert [line for line in shown if not line.startswith(again)] == [line for line in expected if not line.startswith(again)]
    assert f"from {file.stem} import doubled" in next(line for line in shown if line.startswith(again) and printed in line)
    assert "  backward: test_failure_shows_the_message_of_the_mismatch_and_nothing_else.py:9" in lines


def test_full_trace_keeps_the_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_doubled(gradcheck):\n    gradcheck(doubled)\n", "--full-trace")
    result.stdout.fnmatch_lines(["*raise GradientMismatch(self)"])


def test_direct_assertion_shows_the_message_only(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_doubled():\n    gl.assert_gradients(doubled, torch.ones(2, 2), probes=())\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["doubled: gradient of input 0 'x' is wrong in 4 of 4 elements"])
    result.stdout.no_fnmatch_line("*check.py*")


def test_other_failures_keep_their_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_other(gradcheck):\n    gradcheck(ops.relu)\n    assert 1 + 1 == 3\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       assert 1 + 1 == 3"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def test_it(gradcheck):\n    pass\n",
            "the test asserted no gradient, so it could not fail; "
            "call gradcheck(op, *inputs) with inputs that the output depends on",
        ),
        (
            "@gl.parametrize_checks([ops.relu], probes=[])\ndef test_it(check):\n    pass\n",
            "the test asserted no gradient, so it could not fail; "
            "call gradcheck(op, *inputs) with inputs that the output depends on",
        ),
        (
            "def test_it():\n    gl.Report('pass', 'empty', 'op', (), (), 'none').raise_if_failed()\n",
            "the test compared no gradient of empty, so it could not fail; "
            "call gradcheck(op, *inputs) with inputs that the output depends on",
        ),
    ],
    ids=["never called", "check never run", "nothing compared"],
)
def test_test_that_compared_nothing_fails(pytester: pytest.Pytester, body: str, message: str) -> None:
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    assert message in result.outlines


@pytest.mark.parametrize(
    "body",
    [
        "def test_it(gradcheck):\n    pytest.skip('later')\n",
        "@pytest.mark.skip(reason='later')\ndef test_it(gradcheck):\n    pass\n",
    ],
    ids=["within", "marked"],
)
def test_skipped_test_may_compare_nothing(pytester: pytest.Pytester, body: str) -> None:
    run(pytester, body).assert_outcomes(skipped=1)


def test_empty_tensor_is_refused_and_an_expected_mismatch_passes(pytester: pytest.Pytester) -> None:
    body = """
def test_empty():
    with pytest.raises(gl.InvalidArgument, match="nothing"):
        gl.assert_gradients(ops.relu, torch.ones(0, 3))

def test_expected(gradcheck):
    with pytest.raises(gl.GradientMismatch):
        gradcheck(doubled)

@pytest.mark.xfail(strict=True)
def test_known(gradcheck):
    gradcheck(doubled)
"""
    result = run(pytester, body, "--gradcheck-seed", "0")
    result.assert_outcomes(passed=2, xfailed=1)
    result.stdout.no_fnmatch_line("*constant-factor*")


def test_mistaken_call_names_the_fix(pytester: pytest.Pytester) -> None:
    body = "def test_mixed(gradcheck):\n    gradcheck(ops.add, real('n'), torch.ones(2))\n"
    result = run(pytester, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *InvalidArgument: specs and tensors are mixed; pass a spec for every input, or a tensor for every one"]
    )
