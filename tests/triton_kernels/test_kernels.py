"""Every mistake of a kernel is caught under a cause that fits, and every sound kernel passes."""

from typing import Any

import pytest

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

from tests.triton_kernels.row import Kernel
from tests.triton_kernels.table import KERNELS, PROBES

# terms left out take the longest to name, and another kernel has one too
SLOW = {("attention", "no delta"), ("softmax", "no sum"), ("layer norm", "no second term"), ("swiglu", "gate constant")}
MISTAKES = [
    pytest.param(
        kernel, name, id=f"{kernel.name}-{name}", marks=[pytest.mark.thorough] if (kernel.name, name) in SLOW else []
    )
    for kernel in KERNELS for name in kernel.mistakes
]  # fmt: skip
SOUND = [pytest.param(kernel, id=kernel.name) for kernel in KERNELS]
FAST: Any = set(PROBES.values())


@pytest.mark.parametrize(("kernel", "mistake"), MISTAKES)
def test_mistake_is_caught_under_a_cause_that_fits(kernel: Kernel, mistake: str) -> None:
    report = kernel.check(mistake, probes={PROBES[cause] for cause in kernel.mistakes[mistake] if cause in PROBES})
    errors = {finding.cause for finding in report.findings if finding.severity == "error"}
    assert report.verdict == "fail"
    assert errors & kernel.mistakes[mistake], report


@pytest.mark.parametrize("kernel", SOUND)
def test_sound_kernel_passes(kernel: Kernel) -> None:
    report = kernel.check(probes=FAST)
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity == "error"]


@pytest.mark.thorough
@pytest.mark.parametrize("kernel", SOUND)
def test_sound_kernel_passes_every_probe_against_numbers(kernel: Kernel) -> None:
    report = kernel.check(reference=None)
    assert report.verdict == "pass", report
