"""The table of kernels."""

import pytest

pytest.importorskip("triton", reason="needs triton: pip install 'gradcheck_lab[triton]'")

from tests.triton_kernels.products import PRODUCTS
from tests.triton_kernels.rows import ROWS

KERNELS = (*ROWS, *PRODUCTS)
# the probe that a cause needs; the others are found by comparing the one call
PROBES = {
    "out-of-bounds": "kernel_memory",
    "nondeterministic": "program_order",
    "unwritten-elements": "poison",
    "mutates-saved": "second_backward",
    "upstream-ignored": "upstream",
}
