"""A setting of torch is named where it is on, acts on the operators that ran, and leaves an error of the size that there is."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.calls.precision_settings import LEGACY, NAMES, set_settings, settings
from gradcheck_lab.diagnosis import precision
from gradcheck_lab.diagnosis.reduced_products import REDUCTIONS, acts, ran, reductions
from tests.mistakes.registry import normal

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
MATMUL, CONV, RNN = "cuda.matmul.fp32_precision", "cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision"
ONEDNN, ONEDNN_CONV = "mkldnn.matmul.fp32_precision", "mkldnn.conv.fp32_precision"
SUM16, SUMB16 = "cuda.matmul.allow_fp16_reduced_precision_reduction", "cuda.matmul.allow_bf16_reduced_precision_reduction"
IN16 = "cuda.matmul.allow_fp16_accumulation"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = settings()
    yield
    set_settings(before)


NAMED: list[tuple[str, torch.dtype, torch.dtype, dict[str, Any], list[str]]] = [
    ("cuda", F32, F16, {MATMUL: "tf32"}, [MATMUL]),
    ("cuda", F32, F16, {MATMUL: "ieee"}, []),
    ("cuda", F32, F16, {MATMUL: "none"}, []),
    ("cuda", F32, F16, {CONV: "tf32"}, [CONV]),
    ("cuda", F32, F16, {MATMUL: "tf32", CONV: "tf32", RNN: "tf32"}, [MATMUL, CONV, RNN]),
    ("cuda", F32, F16, {LEGACY: "high"}, [MATMUL]),
    ("cuda", F32, F16, {LEGACY: "medium"}, [MATMUL]),
    ("cuda", F32, F16, {LEGACY: "highest"}, []),
    ("cuda", F32, F16, {LEGACY: "high", MATMUL: "ieee"}, []),
    ("cuda", F32, BF16, {MATMUL: "tf32", CONV: "tf32"}, []),
    ("cuda", F64, F16, {MATMUL: "tf32", CONV: "tf32"}, []),
    ("cuda", F32, F16, {ONEDNN: "tf32"}, []),
    ("cuda", F32, F16, {}, []),
    ("cpu", F32, F16, {MATMUL: "tf32", CONV: "tf32", LEGACY: "high"}, []),
    ("cpu", F32, F16, {ONEDNN: "tf32"}, [ONEDNN]),
    ("cpu", F32, BF16, {ONEDNN: "tf32"}, []),
    ("cpu", F32, BF16, {ONEDNN: "bf16", ONEDNN_CONV: "bf16"}, [ONEDNN, ONEDNN_CONV]),
    ("cpu", F32, F16, {ONEDNN: "bf16"}, []),
    ("xpu", F32, BF16, {ONEDNN_CONV: "bf16"}, [ONEDNN_CONV]),
    ("cuda", F16, F16, {SUM16: True, IN16: False, SUMB16: True}, [SUM16]),
    ("cuda", F16, F16, {SUM16: False, IN16: True}, [IN16]),
    ("cuda", F16, F16, {SUM16: False, IN16: False}, []),
    ("cuda", F16, BF16, {SUM16: True}, []),
    ("cuda", BF16, BF16, {SUMB16: True, SUM16: True}, [SUMB16]),
    ("cuda", F32, F16, {SUM16: True, SUMB16: True}, []),
    ("cpu", F16, F16, {SUM16: True}, []),
]  # fmt: skip


@pytest.mark.parametrize(("device", "dtype", "level", "known", "named"), NAMED)
def test_setting_is_named_where_it_explains_the_error(
    device: str, dtype: torch.dtype, level: torch.dtype, known: dict[str, Any], named: list[str]
) -> None:
    assert [each.setting for each in reductions(device, dtype, level, known)] == named


def test_every_setting_that_is_named_is_one_of_torch() -> None:
    assert {each.setting for each in REDUCTIONS} <= set(NAMES)
    assert {each.setting for each in REDUCTIONS} <= set(settings())


@pytest.mark.parametrize(
    ("setting", "operators", "is_one"),
    [
        (MATMUL, {"aten::exp", "aten::addmm"}, True),
        (MATMUL, {"aten::bmm"}, True),
        (MATMUL, {"aten::_scaled_dot_product_flash_attention"}, True),
        (MATMUL, {"aten::mul", "aten::sum"}, False),
        (MATMUL, {"aten::convolution_backward"}, False),
        (CONV, {"aten::convolution_backward"}, True),
        (CONV, {"aten::conv2d"}, True),
        (CONV, {"aten::mm"}, False),
        (RNN, {"aten::_cudnn_rnn"}, True),
        (RNN, {"aten::mm"}, False),
        (CONV, set(), False),
        (CONV, None, True),
    ],
)
def test_operators_that_ran_decide(setting: str, operators: set[str] | None, is_one: bool) -> None:
    assert ran(next(each for each in REDUCTIONS if each.setting == setting), operators) is is_one


@pytest.mark.parametrize("reduction", [each for each in REDUCTIONS if "cpu" in each.devices], ids=lambda each: each.sentence)
def test_what_acts_is_seen_on_this_device(reduction: Any) -> None:
    getattr(torch.backends.mkldnn, reduction.setting.split(".")[1]).fp32_precision = reduction.off
    if reduction.kind == "recurrent layers":
        assert acts(reduction, torch.device("cpu"))
        return
    assert not acts(reduction, torch.device("cpu"))


class Rounded(torch.Tensor):
    """A tensor whose products are those of bfloat16."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = [value.as_subclass(torch.Tensor).bfloat16().float() for value in args if isinstance(value, torch.Tensor)]
        return func(*plain, **(kwargs or {}))


def test_what_is_rounded_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    full = torch.full
    monkeypatch.setattr(torch, "full", lambda *arguments, **keywords: full(*arguments, **keywords).as_subclass(Rounded))
    for reduction in REDUCTIONS[:2]:
        assert acts(reduction, torch.device("cpu"))


def rounded_linear(through: torch.dtype) -> gl.Op:
    """A linear layer whose backward multiplies as a device does where the setting acts: numbers are rounded first."""

    def backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> Any:
        short = [value.to(through).float() for value in (grad_output, x, w)]
        return short[0] @ short[2], short[0].mT @ short[1]

    return gl.Op(lambda x, w: x @ w.mT, backward, name="linear")


@pytest.mark.parametrize(("value", "named"), [("bf16", True), ("ieee", False)])
def test_explanation_says_what_turns_it_off(monkeypatch: pytest.MonkeyPatch, value: str, named: bool) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = value  # type: ignore[attr-defined]
    monkeypatch.setattr(precision, "_through", lambda evidence: None)  # which sees the casts that stand for the device here
    monkeypatch.setattr(precision, "acts", lambda reduction, device: True)
    report = gl.check(rounded_linear(BF16), normal(32, 64).float(), normal(16, 64).float(), probes=())
    (found, *_) = report.findings
    assert (report.verdict, found.cause) == ("fail", "low-precision")
    said = "float32 products are computed in bfloat16; torch.backends.mkldnn.matmul.fp32_precision = 'ieee' turns that off"
    assert (said in found.explanation) is named


def test_setting_that_has_no_part_in_the_call_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.mkldnn.conv.fp32_precision = "bf16"  # type: ignore[attr-defined]
    monkeypatch.setattr(precision, "_through", lambda evidence: None)
    monkeypatch.setattr(precision, "acts", lambda reduction, device: True)
    report = gl.check(rounded_linear(BF16), normal(32, 64).float(), normal(16, 64).float(), probes=())
    assert report.findings[0].cause == "low-precision"
    assert "torch.backends" not in report.findings[0].explanation


@pytest.mark.parametrize("name", ["mkldnn.matmul", "cudnn.conv", "cuda.matmul"])
def test_settings_of_one_backend_do_not_end_a_check(name: str) -> None:
    backend, _, kind = name.partition(".")
    owner = getattr(getattr(torch.backends, backend), kind)
    owner.fp32_precision = "tf32"
    assert gl.check(ops.relu, normal(3), probes=()).verdict == "pass"
    assert owner.fp32_precision == "tf32"


CHANGES: dict[str, Any] = {
    "legacy": lambda: torch.set_float32_matmul_precision("medium"),
    "all": lambda: setattr(torch.backends, "fp32_precision", "ieee"),
    "one": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "sums": lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction", False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_subject_sets_is_put_back(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # torch's own helpers of tests forbid such changes in every process that has imported them
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "flags_frozen", lambda: False)
    before = settings()
    op = gl.Op(lambda x: 2 * x, lambda g, y, x: (CHANGES[name](), 2 * g)[1:], name="setting")
    assert gl.check(op, normal(3), probes=()).verdict == "pass"
    after = settings()
    assert {**after, LEGACY: before[LEGACY]} == before if name == "legacy" else after == before
