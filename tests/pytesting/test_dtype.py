"""`--gradcheck-dtype`: the dtype that tests run in, and what the marker says of it."""

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

SEEN = """
def test_given(gradcheck):
    assert str(gradcheck(ops.relu, torch.ones(2, dtype=torch.float32)).gradients[0].dtype) == WANTED
    assert str(gradcheck(ops.relu).gradients[0].dtype) == WANTED
    assert str(gradcheck.dtype) == "torch." + WANTED
"""


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_tensors_are_in_the_dtype(pytester: pytest.Pytester, dtype: str) -> None:
    run(pytester, f"WANTED = {dtype!r}\n{SEEN}", "--gradcheck-dtype", dtype).assert_outcomes(passed=1)


def test_without_the_option_tensors_stay_as_they_are(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_given(gradcheck, dtype):
    assert gradcheck(ops.relu, torch.ones(2, dtype=dtype), probes=()).gradients[0].dtype == str(dtype)[6:]
"""
    run(pytester, body).assert_outcomes(passed=2)


def test_several_dtypes_repeat_each_test_under_its_name(pytester: pytest.Pytester) -> None:
    body = "def test_it(gradcheck):\n    gradcheck(ops.relu)\n\ndef test_other():\n    pass\n"
    result = run(pytester, body, "-v", "--gradcheck-dtype", "float64", "--gradcheck-dtype", "bfloat16")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_it?float64? PASSED*", "*::test_it?bfloat16? PASSED*", "*::test_other PASSED*"])


def test_parameters_of_a_module_follow_and_the_module_stays_as_it_was(pytester: pytest.Pytester) -> None:
    body = """
class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        return ops.mul.as_function()(x, self.weight)

def test_module(gradcheck):
    module = Scaled()
    report = gradcheck(module, torch.ones(4, 3), probes=())
    assert {gradient.dtype for gradient in report.gradients} == {"float64"}
    assert module.weight.dtype == torch.float32
"""
    run(pytester, body, "--gradcheck-dtype", "float64").assert_outcomes(passed=1)


def test_labels_complex_tensors_and_options_keep_their_kind(pytester: pytest.Pytester) -> None:
    body = """
square = gl.Op(lambda z: z * z, lambda g, output, z: (2 * g * z.conj(),), name="square")
scaled = gl.Op(lambda x, *, by: x * by, lambda g, output, x, *, by: (g * by,), name="scaled")

def test_labels(gradcheck):
    gradcheck(ops.softmax_cross_entropy, torch.randn(2, 3), torch.tensor([0, 2]), probes=())

def test_complex(gradcheck):
    report = gradcheck(square, torch.tensor([1 + 2j], dtype=torch.complex128), probes=())
    assert report.gradients[0].dtype == "complex64"

def test_options(gradcheck):
    gradcheck(scaled, torch.ones(2).double(), options={"by": torch.ones(2).double()}, probes=())
"""
    run(pytester, body, "--gradcheck-dtype", "float32").assert_outcomes(passed=3)


MARKED = """
@pytest.mark.gradcheck(dtypes=["float32", torch.float64])
def test_it(gradcheck):
    gradcheck(ops.relu, torch.ones(2, dtype=torch.float16))
"""


@pytest.mark.parametrize(
    ("options", "passed"),
    [([], 2), (["float32"], 1), (["float32", "bfloat16"], 1), (["bfloat16", "float64", "float32"], 2)],
    ids=["none", "one", "one of two", "both"],
)
def test_marker_says_the_dtypes_of_a_test(pytester: pytest.Pytester, options: list[str], passed: int) -> None:
    run(pytester, MARKED, *(f"--gradcheck-dtype={name}" for name in options)).assert_outcomes(passed=passed)


def test_test_for_other_dtypes_is_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, MARKED, "--gradcheck-dtype=bfloat16", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["not run: 1 test, the test is for float32, float64 only", "SKIPPED*: the test is for float32, float64 only"]
    )


def test_unknown_dtype_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--gradcheck-dtype", "float8")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --gradcheck-dtype is 'float8'; pass one of float64, float32, bfloat16, float16"])
