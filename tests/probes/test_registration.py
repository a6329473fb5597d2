"""What a custom op registers besides its backward: opcheck's failures are findings of a check."""

import subprocess
import sys
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

import gradcheck_lab as gl

PROBE = {"registration"}
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scaled_sum(name: str, fake: Any) -> Any:
    """scale Σ parts, with a list of tensors, an option and a keyword-only one."""

    @custom_op(f"gcl_registration::{name}", mutates_args=())
    def scaled_sum(parts: list[Tensor], scale: float = 1.0, *, shift: float = 0.0) -> Tensor:
        return scale * torch.stack(parts).sum(0) + shift

    def save(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any) -> None:
        parts, ctx.scale = inputs
        ctx.count = len(parts)

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return [ctx.scale * grad_output for _ in range(ctx.count)], None

    if fake is not None:
        scaled_sum.register_fake(fake)
    scaled_sum.register_autograd(backward, setup_context=save)
    return scaled_sum


sound = scaled_sum("sound", lambda parts, scale=1.0, *, shift=0.0: torch.empty_like(parts[0]))
wrong_fake = scaled_sum("wrong_fake", lambda parts, scale=1.0, *, shift=0.0: parts[0].new_empty(parts[0].shape[0]))
without_fake = scaled_sum("without_fake", None)


@custom_op("gcl_registration::writes", mutates_args=())
def writes(x: Tensor) -> Tensor:
    result = x * 2
    x.add_(1)
    return result


writes.register_fake(torch.empty_like)
writes.register_autograd(lambda ctx, grad_output: 2 * grad_output)


def findings(op: Any, *inputs: Any, **arguments: Any) -> list[tuple[str, str, str, str]]:
    report = gl.check(op, *inputs, **arguments)
    return [(f.cause, f.severity, f.message, f.explanation) for f in report.findings if f.probe == "opcheck"]


def test_sound_operator_passes() -> None:
    report = gl.check(sound, [X, Y], options={"scale": 0.5, "shift": 2.0}, probes=PROBE)
    assert (report.verdict, report.findings) == ("pass", ())


def test_overload_passes() -> None:
    assert findings(torch.ops.gcl_registration.sound.default, [X, Y], 0.5, probes=PROBE) == []


def test_wrong_fake_kernel_is_found() -> None:
    report = gl.check(wrong_fake, [X, Y], 0.5, probes=PROBE)
    assert [(f.cause, f.severity, f.message, f.explanation) for f in report.findings] == [
        (
            "forward-mismatch",
            "error",
            "opcheck's test_faketensor failed for gcl_registration::wrong_fake",
            "When comparing the output of gcl_registration.wrong_fake.default on FakeTensor and concrete Tensors, found "
            "mismatched tensor metadata: Shapes torch.Size([4, 3]) and torch.Size([4]) are not equal!",
        )
    ]
    assert report.verdict == "fail"


def test_missing_fake_kernel_is_a_warning() -> None:
    report = gl.check(without_fake, [X, Y], 0.5, probes=PROBE)
    assert [(f.cause, f.severity, f.message, f.explanation) for f in report.findings] == [
        (
            "unsupported",
            "warning",
            "opcheck's test_faketensor failed for gcl_registration::without_fake",
            "it has no fake kernel, which torch.compile and torch.export need",
        )
    ]
    assert report.verdict == "pass"


def test_undeclared_write_is_found_beside_the_write_itself() -> None:
    report = gl.check(writes, X.clone(), probes=PROBE)
    assert [(f.cause, f.probe, f.message) for f in report.findings] == [
        ("mutates-input", "comparison", "input 0 'x' was written to"),
        ("mutates-input", "opcheck", "opcheck's test_schema failed for gcl_registration::writes"),
    ]


def test_other_kinds_do_not_import_opcheck() -> None:
    code = (
        "import sys, torch, gradcheck_lab as gl\n"
        "from gradcheck_lab import ops\n"
        "gl.check(ops.relu, torch.randn(4, 3).double())\n"
        "heavy = ('torch._dynamo', 'torch.testing._internal.optests', 'gradcheck_lab.subjects.operator_checks')\n"
        "assert not [name for name in sys.modules if name.startswith(heavy)]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@custom_op("gcl_registration::numpy_backward", mutates_args=())
def numpy_backward(x: Tensor) -> Tensor:
    return x * 2


numpy_backward.register_fake(torch.empty_like)
numpy_backward.register_autograd(lambda ctx, grad_output: torch.from_numpy(grad_output.numpy() * 2))


def test_right_backward_that_cannot_be_traced_is_a_warning() -> None:
    report = gl.check(numpy_backward, X, probes=PROBE)
    assert report.verdict == "pass"
    assert [(finding.cause, finding.severity, finding.message) for finding in report.findings] == [
        ("unsupported", "warning", "opcheck's test_aot_dispatch_dynamic failed for gcl_registration::numpy_backward")
    ]


@custom_op("gcl_registration::noisy", mutates_args=())
def noisy(x: Tensor) -> tuple[Tensor, Tensor]:
    mask = torch.rand_like(x) > 0.5
    return x * mask, mask.to(x.dtype)


noisy.register_fake(lambda x: (torch.empty_like(x), torch.empty_like(x)))
noisy.register_autograd(
    lambda ctx, grad_output, _: grad_output * ctx.saved_tensors[0],
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output[1]),
)


def test_kernel_that_draws_random_numbers_is_not_traced() -> None:
    assert findings(noisy, X, probes=PROBE) == []
