"""For every probe one planted mistake that shows only with it, beside a sound twin that it is silent about."""

from typing import Any

import torch
from torch import Tensor

from gradcheck_lab import Op
from tests.mistakes.catalogue import ROWS
from tests.mistakes.registry import Mistake, Table, normal, operator_name
from tests.mistakes.second_order import FIRST_ORDER_IS_ENOUGH

# mypy: disable-error-code="override"

own = Table()


@own("wrong-value", "jvp-of-a-double", normal(4))
def forward_mode(wrong: bool) -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return 2 * grad_output

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Tensor:
            return (3 if wrong else 2) * tangent

    return Double


@own("wrong-value", "vmap-of-a-double", normal(4))
def vmap(wrong: bool) -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return 2 * grad_output

        @staticmethod
        def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
            return (3 if wrong else 2) * x, in_dims[0]

    return Double


@own("wrong-value", "fake-of-a-double", normal(4))
def registration(wrong: bool) -> Any:
    op = torch.library.custom_op(operator_name("registered"), lambda x: 2 * x, mutates_args=(), schema="(Tensor x) -> Tensor")
    op.register_autograd(lambda ctx, grad_output: 2 * grad_output)
    op.register_fake(lambda x: x.new_empty(len(x) + 1) if wrong else torch.empty_like(x))
    return op


@own("compiled-mismatch", "half-while-compiling", normal(4))
def compiled(wrong: bool) -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.factor = 1 if wrong and torch.compiler.is_compiling() else 2
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return ctx.factor * grad_output

    return Double


@own("value-dependent", "clamp-at-five", normal(4, 3))
def missing_branches(wrong: bool) -> Any:
    return Op(lambda x: x.clamp(-5, 5), lambda g, y, x: (g if wrong else g * (x.abs() <= 5),), name="clamp")


def _second_order() -> Mistake:
    row = FIRST_ORDER_IS_ENOUGH[0]
    _, _, inputs, options = row.make()
    return Mistake(row.name, "double-backward", lambda: row.make()[0], lambda: row.make()[1], inputs, options)


_ROWS = {str(row): row for row in (*ROWS, *own.rows, _second_order())}
_NAMES = {
    "state": "accumulates-across-calls-probed-square",
    "second_backward": "mutates-saved-setup-context-cube",
    "upstream": "upstream-ignored-probed-exp",
    "upstream_layout": "upstream-layout-pair-view",
    "input_layout": "input-layout-probed-square",
    "needs_input_grad": "needs-input-grad-function-early-return",
    "aliased_inputs": "aliased-inputs-probed-identity",
    "poison": "unwritten-elements-probed-empty-first-element",
    "sizes": "missing-broadcast-sum-probed-unsummed-sum",
    "values": "masked-branch-layer-masked-root",
    "indices": "duplicate-index-probed-assigned-rows",
    "dtypes": "wrong-dtype-probed-always-float32",
    "options": "option-specialised-probed-keepdim-ignored",
    "modes": "mode-mismatch-probed-dropout-in-eval",
    "forward_mode": "wrong-value-jvp-of-a-double",
    "vmap": "wrong-value-vmap-of-a-double",
    "registration": "wrong-value-fake-of-a-double",
    "compiled": "compiled-mismatch-half-while-compiling",
    "double_backward": str(_second_order()),
    "kernel_memory": "out-of-bounds-kernel-tail-written",
    "program_order": "nondeterministic-kernel-without-atomics",
    "missing_branches": "value-dependent-clamp-at-five",
}
PLANTED: dict[str, Mistake] = {probe: _ROWS[name] for probe, name in _NAMES.items()}
