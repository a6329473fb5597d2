"""`parametrize_checks`: one test for each op and promise, named after both."""

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.probes import ALL, PROBES
from tests.pytesting.suite import STRIDED, run

pytest_plugins = ["pytester"]

PLANNED = """
@gl.parametrize_checks({entries})
def test_ops(gradcheck, check):
    gradcheck(check)
"""


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """The word that -v prints for each id."""
    rows = [line.split() for line in result.outlines if "::test_ops[" in line and "%]" in line]
    return {row[0].partition("[")[2].rstrip("]"): row[1] for row in rows}


def test_every_promise_of_every_op_is_a_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, PLANNED.format(entries="[ops.relu, ops.linear]"), "-v", "-rN")
    found = outcomes(result)
    assert set(found) == {f"{op}-{promise}" for op in ("relu", "linear") for promise in ("comparison", *ALL)}
    assert result.ret == pytest.ExitCode.OK
    assert {found["linear-second_backward"], found["linear-upstream_layout"], found["relu-comparison"]} == {"PASSED"}


@pytest.mark.parametrize("promise", ["registration", "vmap", "forward_mode", "indices", "options"])
def test_promise_about_nothing_that_the_op_has_is_skipped(pytester: pytest.Pytester, promise: str) -> None:
    body = PLANNED.format(entries=f"[ops.relu], probes=[{promise!r}]")
    result = run(pytester, body, "-v", "-rs")
    assert outcomes(result) == {"relu-comparison": "PASSED", f"relu-{promise}": "SKIPPED"}
    result.stdout.fnmatch_lines(["SKIPPED*: the op has nothing that this promise is about"])


def test_failure_names_the_promise_that_broke_and_no_other(pytester: pytest.Pytester) -> None:
    result = run(pytester, STRIDED + PLANNED.format(entries="[strided]"), "-v", "-rN")
    failed = [name for name, word in outcomes(result).items() if word == "FAILED"]
    assert failed == ["strided-upstream_layout"]
    result.stdout.fnmatch_lines(["strided: gradient of input 0 'x' differs when grad_output is *"])


def test_wrong_gradient_fails_the_comparison_alone(pytester: pytest.Pytester) -> None:
    result = run(pytester, PLANNED.format(entries="[doubled]"), "-v", "-rN")
    assert [name for name, word in outcomes(result).items() if word == "FAILED"] == ["doubled-comparison"]


def test_promise_that_explains_a_wrong_gradient_fails_beside_the_comparison(pytester: pytest.Pytester) -> None:
    body = """
ignoring = gl.Op(torch.relu, lambda g, output, x: ((x > 0).to(x),), name="ignoring", specs=(real("n d"),))
"""
    result = run(pytester, body + PLANNED.format(entries="[ignoring]"), "-v", "-rN")
    failed = [name for name, word in outcomes(result).items() if word == "FAILED"]
    assert failed == ["ignoring-comparison", "ignoring-upstream"]


def test_forward_that_raises_fails_the_comparison_and_tries_no_probe(pytester: pytest.Pytester) -> None:
    body = "broken = gl.Op(lambda x: 1 / 0, lambda g, output, x: (g,), name='broken', specs=(real('n'),))\n"
    result = run(pytester, body + PLANNED.format(entries="[broken]"), "-v", "-rN")
    found = outcomes(result)
    assert found.pop("broken-comparison") == "FAILED"
    assert set(found.values()) == {"SKIPPED"}


def test_entries_may_be_tensors_specs_pairs_functions_and_params(pytester: pytest.Pytester) -> None:
    body = """
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

pair = (lambda x: 3 * x, lambda g, output, x: (3 * g,))
"""
    entries = """[
    (ops.relu, torch.ones(2, 2)), (Square, real("n")), (pair, real("n")),
    pytest.param(ops.relu, id="mine"), pytest.param(Square, real("n d"), id="yours"),
    pytest.param(doubled, marks=pytest.mark.gradcheck(allow={"constant-factor": "drops the 2"})),
    pytest.param(doubled, marks=pytest.mark.xfail(strict=True), id="known"),
], probes=["upstream"]"""
    result = run(pytester, body + PLANNED.format(entries=entries), "-v", "-rN")
    found = outcomes(result)
    assert found.pop("known-comparison") == "XFAIL"
    assert found.pop("known-upstream") == "FAILED"  # strict, and the upstream is used
    assert set(found.values()) == {"PASSED"}
    assert {"mine-upstream", "yours-comparison", "Square-upstream", "doubled-comparison"} <= set(found)


def test_exception_that_no_longer_happens_fails_the_comparison_only(pytester: pytest.Pytester) -> None:
    body = "@pytest.mark.gradcheck(allow={'sign': 'turned round'})" + PLANNED.format(entries="[ops.relu]")
    result = run(pytester, body, "-v", "-rN")
    assert [name for name, word in outcomes(result).items() if word == "FAILED"] == ["relu-comparison"]


def test_exception_excuses_the_comparison_while_another_promise_is_broken(pytester: pytest.Pytester) -> None:
    body = """
def both(g, output, x):
    return (2 * g.as_strided(x.shape, x.contiguous().stride()) * (x > 0),)

twofold = gl.Op(torch.relu, both, name="twofold", specs=(real("n d"),))

@pytest.mark.gradcheck(allow={"constant-factor": "drops the 2"})
"""
    result = run(pytester, body.rstrip() + PLANNED.format(entries="[twofold]"), "-v", "-rN")
    assert [name for name, word in outcomes(result).items() if word == "FAILED"] == ["twofold-upstream_layout"]


@pytest.mark.parametrize("promise", ["upstream", "upstream_layout"])
def test_only_the_chosen_probes_are_tried(pytester: pytest.Pytester, promise: str) -> None:
    result = run(pytester, STRIDED + PLANNED.format(entries=f"[strided], probes=[{promise!r}]"), "-v", "-rN")
    broken = promise == "upstream_layout"
    assert outcomes(result) == {
        "strided-comparison": "PASSED",
        f"strided-{promise}": "FAILED" if broken else "PASSED",
    }


def test_options_reach_the_forward(pytester: pytest.Pytester) -> None:
    body = PLANNED.format(entries="[ops.mse_loss], probes=['options'], options={'reduction': 'nonsense'}")
    result = run(pytester, body)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*nonsense*"])


def test_dtypes_repeat_the_tests(pytester: pytest.Pytester) -> None:
    body = PLANNED.format(entries="[ops.relu], probes=[]")
    result = run(pytester, body, "-v", "--gradcheck-dtype=float64", "--gradcheck-dtype=float16")
    assert set(outcomes(result)) == {"relu-comparison-float64", "relu-comparison-float16"}


BAD = {
    "none": ([], {}, "parametrize_checks was given no ops; pass a list: @gl.parametrize_checks([relu, linear])"),
    "one op": (ops.relu, {}, "parametrize_checks was given no ops; pass a list: @gl.parametrize_checks([relu, linear])"),
    "no specs": (
        [gl.Op(torch.relu, lambda grad_output, output, x: (grad_output,), name="mine")],
        {},
        "mine has no specs to draw its inputs from; pass them: (mine, real('n d'), ...)",
    ),
    "string": ([ops.relu], {"probes": "upstream"}, "probes is a string; pass a list: probes=['upstream']"),
    "unknown probe": (
        [ops.relu],
        {"probes": ["upsteam"]},
        f"probes names 'upsteam', which is unknown; known: {', '.join(sorted(PROBES))}",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_call_is_refused_with_the_fix(name: str) -> None:
    entries, arguments, message = BAD[name]
    with pytest.raises(InvalidArgument) as raised:
        gl.parametrize_checks(entries, **arguments)
    assert str(raised.value) == message
