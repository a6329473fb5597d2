"""Planted mistakes of Triton kernels, which run in Triton's interpreter; skipped where triton is missing."""

from typing import Any

import pytest

from tests.mistakes.registry import Table, normal, whole

table = Table()
TURNED = normal(3, 3, seed=3).float().cos(), normal(3, 3, seed=3).float().sin()
KERNEL = {"probes": {"kernel_memory"}}


def needs_triton() -> None:
    """Skip the test that needs it where it is missing."""
    pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")


@table("out-of-bounds", "kernel-tail-written", normal(3, 5).float(), **KERNEL)
def tail_written(wrong: bool) -> Any:
    needs_triton()
    from tests.triton_kernels.rows import softmax

    return softmax("tail written" if wrong else "")


@table("out-of-bounds", "kernel-tail-read", normal(2, 7).float(), **KERNEL)
def tail_read(wrong: bool) -> Any:
    needs_triton()
    from tests.triton_kernels.rows import cumulative_sum

    return cumulative_sum("tail read" if wrong else "")


@table("out-of-bounds", "kernel-tail-of-halves", normal(2, 3, 6).float(), *TURNED, wrt=["x"], **KERNEL)
def tail_of_halves(wrong: bool) -> Any:
    needs_triton()
    from tests.triton_kernels.products import rotary

    return rotary("tail written" if wrong else "")


@table("nondeterministic", "kernel-without-atomics", normal(4, 3).float(), whole(4, 5), probes={"program_order"})
def without_atomics(wrong: bool) -> Any:
    needs_triton()
    from tests.triton_kernels.products import embedding

    return embedding("no atomics" if wrong else "")


ROWS = table.rows
