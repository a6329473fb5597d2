"""How Triton's interpreter is started, what it is given that it lacks, and what it is refused for."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

import triton

import gradcheck_lab as gl
from gradcheck_lab import triton_internals
from gradcheck_lab.commands.fuzz_jobs import default_examples
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.run import sizes_drawn
from gradcheck_lab.kernels import starting
from tests.command_line import exit_code
from tests.kernels import small

pytest_plugins = ["pytester"]
MISSING = "--triton-interpret needs triton, which is not installed; run pip install 'gradcheck_lab[triton]'"
FILE = """
import torch, triton, triton.language as tl

@triton.jit
def double(x_ptr, y_ptr, count, factor, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < count)
    tl.store(y_ptr + offsets, x * factor, mask=offsets < count)

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        double[(1,)](x, y, x.numel(), 2.0, BLOCK=triton.next_power_of_2(x.numel()))
        return y

    @staticmethod
    def backward(ctx, g):
        return FACTOR * g
"""


@pytest.fixture(autouse=True)
def installed() -> None:
    starting.install_where_interpreting()


def no_triton(name: str, *rest: Any, find: Any = importlib.util.find_spec) -> Any:
    return None if name == "triton" else find(name, *rest)


def test_command_checks_a_kernel_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernels.py").write_text(FILE.replace("FACTOR", "3"))
    target = f"{tmp_path / 'kernels.py'}:Double"
    assert exit_code("check", target, "--spec", "real('5')", "--dtype", "float32", "--triton-interpret") == 1
    printed = capsys.readouterr().out
    assert "cause: constant-factor" in printed
    (again,) = [line for line in printed.splitlines() if "reproduce: gradcheck-lab check" in line]
    assert again.endswith(" --triton-interpret")


@pytest.mark.thorough
@pytest.mark.parametrize(("factor", "code", "told"), [("2", 0, "1 pass"), ("3", 1, "cause: constant-factor")])
def test_command_fuzzes_a_kernel_on_the_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, factor: str, code: int, told: str
) -> None:
    (tmp_path / f"times_{factor}.py").write_text(FILE.replace("FACTOR", factor))
    monkeypatch.syspath_prepend(str(tmp_path))
    target = f"times_{factor}:Double"
    folder = str(tmp_path / "cases")
    assert exit_code("fuzz", target, "--spec", "real('n')", "--triton-interpret", "--examples", "5", "--save", folder) == code
    printed = capsys.readouterr()
    assert told in printed.out
    for path in Path(folder).glob("*.json"):
        (again,) = [line.strip() for line in printed.out.splitlines() if "reproduce: " in line]
        assert again == f"reproduce: gradcheck-lab replay {path} {target} --triton-interpret"
        assert "    os.environ['TRITON_INTERPRET'] = '1'\n    import torch\n" in printed.out
        assert exit_code("replay", str(path), target, "--triton-interpret") == 1
    assert printed.err.startswith(f"fuzzing {target} in Triton's interpreter: up to 5 drawn calls of some seconds each\n")


@pytest.mark.parametrize(("interpreted", "examples"), [(False, 100), (True, 20)])
def test_fewer_calls_of_interpreted_kernels_are_drawn(interpreted: bool, examples: int) -> None:
    assert default_examples(interpreted) == examples


@pytest.mark.parametrize(("interpreted", "largest"), [(False, 33), (True, 9)])
def test_calls_that_launch_interpreted_kernels_are_drawn_small(interpreted: bool, largest: int) -> None:
    assert max(sizes_drawn(interpreted)) == largest


def test_triton_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", no_triton)
    assert exit_code("check", "gradcheck_lab.ops:relu", "--triton-interpret") == 2
    assert " ".join(capsys.readouterr().err.split()) == f"error: {MISSING}"


def test_pytest_option_is_refused_where_triton_is_missing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", no_triton)
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest("-p", "no:cacheprovider", "--gradcheck-triton-interpret")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {MISSING.replace('--triton', '--gradcheck-triton').replace('[', '[[]')}"])


def test_pytest_option_interprets(pytester: pytest.Pytester) -> None:
    test = "\ndef test_double(gradcheck):\n    gradcheck(Double, torch.ones(5), probes=())\n"
    pytester.makepyfile(FILE.replace("FACTOR", "2") + test)
    pytester.runpytest("-p", "no:cacheprovider", "--gradcheck-triton-interpret").assert_outcomes(passed=1)


def test_triton_imported_too_early_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "is_interpreting", lambda: False)
    with pytest.raises(InvalidArgument) as refused:
        starting.interpret_triton("--triton-interpret")
    assert str(refused.value) == (
        "--triton-interpret came too late: triton was imported without its interpreter; "
        "set TRITON_INTERPRET=1 in the environment"
    )


def test_another_version_of_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(triton_internals._NAMES, "triton.runtime.interpreter", ("_no_such_name",))
    with pytest.raises(InvalidArgument) as refused:
        starting.install_where_interpreting()
    assert str(refused.value) == (
        f"triton {triton.__version__} has no triton.runtime.interpreter._no_such_name, by which its kernels are watched; "
        "install triton==3.9.0"
    )


def test_a_kernel_that_the_interpreter_cannot_run_is_refused() -> None:
    double = small.doubled(lambda x: small.in_assembly[(1,)](x, torch.empty_like(x), BLOCK=4) or x)
    with pytest.raises(InvalidArgument) as refused:
        gl.check(double, torch.ones(4))
    assert str(refused.value) == (
        "the kernel in_assembly cannot run in Triton's interpreter (NotImplementedError: inline_asm not supported in "
        "interpreter mode); check it on a device, without TRITON_INTERPRET"
    )


def test_code_written_for_a_device_is_refused() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        assert x.is_cuda, "no device"
        return 2 * x

    with pytest.raises(InvalidArgument) as refused:
        gl.check(small.doubled(forward), torch.ones(4))
    assert str(refused.value) == (
        "the code around the kernels is written for a device (AssertionError: no device); check it on one, "
        "without TRITON_INTERPRET"
    )


@pytest.mark.parametrize(("factor", "causes"), [(3.0, []), (6.0, ["constant-factor"])])
def test_code_that_asks_torch_for_a_device_gets_an_answer(factor: float, causes: list[str]) -> None:
    own = torch.cuda.is_available, torch.cuda.device
    report = gl.check(small.tripled_by_processors(factor), torch.randn(2, 3), probes=())
    assert [finding.cause for finding in report.findings] == causes, report
    assert (torch.cuda.is_available, torch.cuda.device) == own


@pytest.mark.parametrize(("same", "verdict"), [(False, "pass"), (True, "fail")])
def test_what_a_kernel_writes_in_place_is_no_contradiction_of_oracles(same: bool, verdict: str) -> None:
    report = gl.check(small.kept_in_place(same), torch.randn(2, 3), probes={"state"})
    assert (report.verdict, "oracle-disagrees" in {finding.cause for finding in report.findings}) == (verdict, False), report


def test_what_a_kernel_asserts_is_its_own_mistake() -> None:
    report = gl.check(small.doubled(lambda x: small.asserting[(1,)](x, BLOCK=4) or 2 * x), torch.ones(4), probes=())
    assert [finding.cause for finding in report.findings] == ["raises"]


def test_a_float_is_a_scalar_of_float32() -> None:
    x, y = torch.arange(5.0), torch.empty(5)
    small.scale[(2,)](x, y, 0.1, 5, BLOCK=4)
    assert torch.equal(y, x * torch.tensor(0.1))


def test_what_a_loop_counts_is_a_scalar() -> None:
    x, y = torch.arange(7.0), torch.empty(7)
    small.in_a_loop[(2,)](x, y, 7, BLOCK=2)
    assert torch.equal(y, 2 * x)


def test_bfloat16_is_computed_in_float32_and_rounded_to_even() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, generator=generator).bfloat16() for _ in range(2))
    y, total = torch.empty_like(a), torch.empty(1)
    small.multiply[(1,)](a, b, y, total, BLOCK=64)
    assert torch.equal(y, a * b + a)
    torch.testing.assert_close(total, (a * b).float().sum().reshape(1), rtol=2**-7, atol=0)


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * 1e3
    values[:4] = torch.tensor([1.9999, float("inf"), 3.3e38, -0.0])
    rounded = triton_internals.rounded_to_bfloat16(values.numpy())
    assert (rounded == values.bfloat16().view(torch.int16).numpy().view("uint16")).all()


def test_functions_of_the_library_are_computed() -> None:
    x = torch.linspace(-2, 2, 8)
    y = torch.empty_like(x)
    small.by_library[(1,)](x, y, BLOCK=8)
    torch.testing.assert_close(y, x.tanh() + (x * x + 1).rsqrt())


def test_the_driver_answers_and_an_autotuner_takes_its_first_configuration() -> None:
    active = triton.runtime.driver.active
    device = active.get_current_device()
    assert active.utils.get_device_properties(device)["multiprocessor_count"] > 1
    assert active.get_current_target().backend == "cuda"
    assert active.get_current_stream(device) == 0
    x, y = torch.arange(6.0), torch.empty(6)
    small.tuned[lambda meta: (triton.cdiv(6, meta["BLOCK"]),)](x, y, 6)
    assert torch.equal(y, 2 * x)
    assert small.tuned.best_config.kwargs == {"BLOCK": 4}
