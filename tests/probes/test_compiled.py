"""The probe `compiled`: what differs under torch.compile is found, what is sound passes, and nothing is left behind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes import PROBES
from gradcheck_lab.probes.compiled import compiled_with
from gradcheck_lab.probes.support import compiling
from gradcheck_lab.probes.support.fake_kernels import difference
from tests.mistakes.registry import normal, operator_name

# mypy: disable-error-code="override"

Rule = Callable[[Tensor, Tensor], Tensor]
QUICK, TRACED = compiled_with("eager"), compiled_with("aot_eager")


def sine(factor: Callable[[Tensor], Any], cosine: Callable[[Tensor], Tensor] = torch.cos) -> Any:
    """The sine as a Function whose backward multiplies by what its forward found, divided by 2."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.factor = factor(x)
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output * cosine(x) * (ctx.factor / 2)

    return Sine


def operator(name: str, kernel: Any, fake: Any, schema: str = "(Tensor x) -> Tensor") -> Any:
    made = torch.library.custom_op(operator_name(name), kernel, mutates_args=(), schema=schema)
    if fake is not None:
        made.register_fake(fake)
    return made


@torch.compiler.assume_constant_result
def rows_once(x: Tensor) -> int:
    return len(x)


@torch.compiler.assume_constant_result
def largest_once(x: Tensor) -> float:
    return float(x.detach().abs().max())


def by_rows(rows: Callable[[Tensor], int]) -> Any:
    class MeanOfRows(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.rows, ctx.shape = rows(x), x.shape
            return x.mean(0)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return (grad_output / ctx.rows).expand(ctx.shape)

    return MeanOfRows


def by_largest(largest: Callable[[Tensor], float]) -> Any:
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.largest = largest(w)
            return x * ctx.largest

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
            return grad_output * ctx.largest, None

    return Scaled


def errors(report: gl.Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity == "error"]


def loud(report: gl.Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity != "note"]


def test_factor_that_differs_while_compiling_is_wrong_compiled_alone() -> None:
    wrong = sine(lambda x: 1 if torch.compiler.is_compiling() else 2)
    assert gl.check(wrong, normal(4, 3), probes=()).verdict == "pass"
    (found,) = errors(gl.check(wrong, normal(4, 3), probes=[QUICK]))
    assert (found.cause, found.gradient, found.probe) == ("compiled-mismatch", "x", "compiled")
    assert found.message == "gradient of input 0 'x' is another under torch.compile (eager)"
    assert found.case == "backend eager, as given"
    assert " uncompiled" in found.explanation


@pytest.mark.thorough
def test_forward_that_differs_while_compiling_is_found() -> None:
    def other(x: Tensor) -> Tensor:
        y = sine(lambda x: 2).apply(x)
        return y + 1 if torch.compiler.is_compiling() else y

    (found,) = errors(gl.check(other, normal(4), probes=[TRACED]))
    assert (found.cause, found.gradient) == ("compiled-mismatch", None)
    assert found.message == "the output is another under torch.compile (aot_eager)"


def test_number_that_stays_as_it_was_traced_is_found_at_other_values() -> None:
    inputs, probes = (normal(4), normal(5, seed=1)), [compiled_with("eager")]
    assert not loud(gl.check(by_largest(lambda w: float(w.abs().max())), *inputs, wrt=["x"], probes=probes))
    (found,) = errors(gl.check(by_largest(largest_once), *inputs, wrt=["x"], probes=probes))
    assert (found.cause, found.case) == ("compiled-mismatch", "backend eager, other values")


@pytest.mark.thorough
def test_size_that_stays_as_it_was_traced_is_found_at_other_sizes() -> None:
    assert not loud(gl.check(by_rows(len), normal(4, 3), probes=[TRACED]))
    report = gl.check(by_rows(rows_once), normal(4, 3), probes=[TRACED])
    assert {found.cause for found in errors(report)} == {"compiled-mismatch"}
    assert errors(report)[0].case.startswith("backend aot_eager, other sizes: x (")


@pytest.mark.thorough
def test_op_is_compiled_forward_and_backward() -> None:
    def rule(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_output * (3 if torch.compiler.is_compiling() else 2),)

    (found,) = errors(gl.check(gl.Op(lambda x: 2 * x, rule, name="double"), normal(4), probes=[TRACED]))
    assert (found.cause, found.gradient) == ("compiled-mismatch", "x")
    assert not loud(gl.check(ops.linear, normal(4, 3), normal(2, 3), normal(2), probes=[TRACED]))


@pytest.mark.thorough
def test_module_is_compiled_with_its_parameters() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(normal(3))
            self.norm = torch.nn.BatchNorm1d(3).double()
            self.function = sine(lambda x: 1 if wrong and torch.compiler.is_compiling() else 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.function.apply(x) * self.weight)

    module = Scaled(wrong=False)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    assert not loud(gl.check(module, normal(4, 3), probes=[TRACED]))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert "_compiled_call_impl" not in vars(module)
    (found,) = errors(gl.check(Scaled(wrong=True), normal(4, 3), probes=[TRACED]))
    assert (found.cause, found.gradient) == ("compiled-mismatch", "x")


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (lambda x: x.new_empty(x.shape), "it promises the strides (3, 1), and the kernel returns (1, 4)"),
        (lambda x: x.new_empty(3, 4), "it promises the shape (3, 4), and the kernel returns (4, 3)"),
        (lambda x: x.new_empty(4, 3, dtype=torch.float32), "it promises the dtype float32, and the kernel returns float64"),
    ],
    ids=["strides", "shape", "dtype"],
)
def test_fake_kernel_within_a_backward_is_held_against_its_kernel(fake: Any, words: str) -> None:
    cosine = operator("cosine", lambda x: x.cos().t().contiguous().t(), fake)
    (found,) = loud(gl.check(sine(lambda x: 2, cosine), normal(4, 3), probes=[QUICK]))
    assert (found.cause, found.severity, found.explanation) == ("forward-mismatch", "error", words)
    assert found.message.startswith("the fake kernel of ")
    assert found.message.endswith(" is not that of its kernel")


def test_fake_kernel_that_keeps_its_strides_on_the_call_alone_is_a_warning() -> None:
    cosine = operator("cosine", lambda x: x.cos().contiguous(), torch.empty_like)
    report = gl.check(sine(lambda x: 2, cosine), normal(4, 3), probes=[QUICK])
    assert report.verdict == "pass"
    assert [(f.cause, f.severity) for f in loud(report)] == [("forward-mismatch", "warning")]
    assert loud(report)[0].case == "the inputs transposed in memory"


def test_missing_fake_kernel_is_a_warning() -> None:
    cosine = operator("cosine", lambda x: x.cos().clone(), None)
    report = gl.check(sine(lambda x: 2, cosine), normal(4), probes=[QUICK])
    assert report.verdict == "pass"
    assert [(f.cause, f.severity) for f in loud(report)] == [("unsupported", "warning")]
    assert loud(report)[0].message.endswith(" has no fake kernel")


def test_write_that_a_schema_does_not_declare_is_lost_compiled() -> None:
    def double(x: Tensor) -> None:
        x.mul_(2)

    in_place = operator("double", double, lambda x: None, "(Tensor x) -> ()")

    def cosine(x: Tensor) -> Tensor:
        half = x.cos() / 2
        in_place(half)
        return half

    (found,) = errors(gl.check(sine(lambda x: 2, cosine), normal(4), probes=[TRACED]))
    assert (found.cause, found.gradient) == ("compiled-mismatch", "x")


def test_registration_and_compiled_say_a_mistake_of_a_custom_op_once() -> None:
    def made(fake: Any) -> Any:
        op = operator("double", lambda x: 2 * x, fake)
        op.register_autograd(lambda ctx, grad_output: 2 * grad_output)
        return op

    alone = gl.check(made(lambda x: x.new_empty(len(x) + 1)), normal(4), probes=[QUICK])
    both = gl.check(made(lambda x: x.new_empty(len(x) + 1)), normal(4), probes=["registration", QUICK])
    assert [f.cause for f in errors(alone)] == [f.cause for f in errors(both)] == ["forward-mismatch"]
    assert not loud(gl.check(made(torch.empty_like), normal(4), probes=["registration", QUICK]))


def test_graph_break_is_a_note_with_the_reason() -> None:
    report = gl.check(sine(lambda x: 2 * (x.detach().sum().item() ** 0)), normal(4), probes=[QUICK])
    assert report.verdict == "pass"
    assert not loud(report)
    told = [f.explanation for f in report.findings if f.message == "torch.compile leaves the graph in Sine"]
    assert any("Tensor.item()" in reason for reason in told)


def test_what_the_compiler_refuses_is_a_warning_with_its_reason() -> None:
    cosine = operator("cosine", lambda x: x.cos().clone(), torch.empty_like)
    cosine.register_autograd(
        lambda ctx, grad_output: -grad_output * torch.from_numpy(np.sin(ctx.saved_tensors[0].numpy())),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
    )
    report = gl.check(lambda x: cosine(x) * 2, normal(4), probes=[TRACED])
    assert report.verdict == "pass"
    assert [(f.cause, f.severity) for f in loud(report)] == [("unsupported", "warning")]
    assert "runs uncompiled, and torch.compile (aot_eager) raised " in loud(report)[0].message


def test_cost_is_told() -> None:
    report = gl.check(sine(lambda x: 2), normal(4), probes=[QUICK])
    (note,) = [finding for finding in report.findings if finding.message.startswith("compiled with")]
    assert note.message.startswith("compiled with 1 backend in ")
    assert (note.severity, note.explanation) == ("note", "eager")


def scaled(factor: Callable[[], int]) -> gl.Op:
    return gl.Op(lambda x: 2 * x, lambda grad_output, output, x: (grad_output * factor(),), name="double")


def factor_if_compiled() -> int:
    return 3 if torch.compiler.is_compiling() else 2


def test_ops_of_a_program_are_compiled() -> None:
    def program(double: gl.Op) -> Callable[[Tensor], Any]:
        return lambda x: double(ops.tanh(x)) * x

    (found,) = errors(gl.check(program(scaled(factor_if_compiled)), normal(4), probes=[QUICK]))
    assert (found.cause, found.gradient, found.case) == ("compiled-mismatch", "x", "backend eager, as given")
    report = gl.check(program(scaled(lambda: 2)), normal(4), probes=[QUICK])
    assert report.verdict == "pass"
    assert not loud(report)
    assert any(finding.message.startswith("compiled with") for finding in report.findings)


class Affine:
    """x W + b by hand: the forward keeps its input, and the backward stores the gradients of the parameters."""

    def __init__(self, factor: Callable[[], int]) -> None:
        self.W, self.b, self.factor = normal(3, 2), normal(2, seed=1), factor

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad_output: Tensor) -> Tensor:
        self.dW = self.x.T @ grad_output * (self.factor() / 2)
        self.db = grad_output.sum(0)
        return grad_output @ self.W.T


def test_methods_of_a_layer_are_compiled() -> None:
    report = gl.check(Affine(lambda: 2), normal(4, 3), probes=[QUICK])
    assert report.verdict == "pass"
    assert not loud(report)
    assert any(finding.message.startswith("compiled with") for finding in report.findings)
    (found,) = errors(gl.check(Affine(factor_if_compiled), normal(4, 3), probes=[QUICK]))
    assert (found.cause, found.gradient) == ("compiled-mismatch", "W")


def test_layer_in_numpy_says_why_it_is_not_compiled() -> None:
    class Tanh:
        def forward(self, x: Any) -> Any:
            self.y = np.tanh(x)
            return self.y

        def backward(self, grad_output: Any) -> Any:
            return grad_output * (1 - self.y**2)

    report = gl.check(Tanh(), normal(4).numpy(), probes=[QUICK])
    (note,) = [finding for finding in report.findings if finding.cause == "compiled"]
    assert note.explanation == "nobody compiles a layer that computes in NumPy"


def test_inductor_without_a_compiler_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "has_cpp_compiler", lambda: False)
    report = gl.check(sine(lambda x: 2), normal(4), probes=[compiled_with("eager", "inductor")])
    told = {f.message: f.explanation for f in report.findings}
    assert told["inductor was not tried"] == "it did not find a C++ compiler, which it needs on the CPU"
    assert report.verdict == "pass"


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mask = torch.rand_like(x) > 0.5
        ctx.save_for_backward(mask)
        return x * mask * 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (mask,) = ctx.saved_tensors
        return grad_output * mask * 2


class DoubleInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 2 * grad_output


class Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        values, places = x.max(-1)
        ctx.save_for_backward(places)
        ctx.mark_non_differentiable(places)
        ctx.columns = x.shape[-1]
        return values, places

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, unused: Any) -> Tensor:
        (places,) = ctx.saved_tensors
        return torch.nn.functional.one_hot(places, ctx.columns) * grad_output.unsqueeze(-1)


class InNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * torch.from_numpy(np.cos(x.detach().numpy()))


# the first of them stands for all in the ordinary lane
SOUND = {
    "in-place": (DoubleInPlace, normal(4, 3)),
    "dropout": (Dropout, normal(4, 3)),
    "largest": (Largest, normal(4, 3)),
    "ties": (Largest, torch.zeros(4, 3, dtype=torch.float64)),
    "numpy": (InNumpy, normal(4, 3)),
    "float32": (sine(lambda x: 2), normal(4, 3).float()),
    "bfloat16": (sine(lambda x: 2), normal(4, 3).bfloat16()),
    "transposed": (sine(lambda x: 2), normal(3, 4).t()),
    "data-dependent": (sine(lambda x: 2 if x.sum() > 0 else 2.0), normal(4, 3)),
}


@pytest.mark.parametrize("name", [*[*SOUND][:1], *(pytest.param(name, marks=pytest.mark.thorough) for name in [*SOUND][1:])])
def test_sound_function_passes(name: str) -> None:
    subject, x = SOUND[name]
    report = gl.check(subject, x, probes=[TRACED])
    assert report.verdict == "pass", report
    assert not loud(report), report


def test_small_function_passes_under_inductor() -> None:
    if not compiling.has_cpp_compiler():
        pytest.skip("inductor needs a C++ compiler")
    report = gl.check(torch.nn.Linear(1, 1).double(), normal(2, 1), probes=[compiled_with("inductor")])
    assert report.verdict == "pass", report
    assert not loud(report), report


@pytest.mark.thorough
@pytest.mark.parametrize("name", SOUND)
def test_sound_function_passes_under_every_backend(name: str) -> None:
    subject, x = SOUND[name]
    report = gl.check(subject, x, probes={"compiled"})
    assert report.verdict == "pass", report
    assert not loud(report), report


@pytest.mark.thorough
def test_strides_that_a_kernel_does_not_keep_are_refused_by_inductor() -> None:
    """So what is told of such a kernel before anything is compiled is what the user would meet."""
    cosine = operator("cosine", lambda x: x.cos().t().contiguous().t(), lambda x: x.new_empty(x.shape))
    function = torch.compile(lambda x: cosine(x) * 2, backend="inductor")
    with pytest.raises(AssertionError, match="stride"):
        function(normal(4, 3))
    torch.compiler.reset()


@pytest.mark.thorough
def test_all_default_probes_and_compiled_run_together() -> None:
    report = gl.check(sine(lambda x: 1 if torch.compiler.is_compiling() else 2), normal(4, 3), probes=[*gl.ALL, QUICK])
    assert [finding.cause for finding in errors(report)] == ["compiled-mismatch"]


def test_compiled_is_known_and_not_among_the_default_probes() -> None:
    assert "compiled" in PROBES
    assert "compiled" not in gl.ALL


def test_nothing_is_left_behind() -> None:
    import logging

    from torch._dynamo import config
    from torch._dynamo.utils import counters

    before, disabled = config.get_config_copy(), logging.root.manager.disable
    x = normal(4, 3).requires_grad_()
    gl.check(sine(lambda x: 2), x, probes=[QUICK])
    assert config.get_config_copy() == before
    assert logging.root.manager.disable == disabled
    assert not counters
    assert x.grad is None


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(InvalidArgument) as raised:
        compiled_with("triton")
    assert str(raised.value) == "compiled_with names 'triton', which is unknown; known: aot_eager, eager, inductor"


@pytest.mark.parametrize(
    ("fake", "real", "words"),
    [
        (torch.empty(2, 3), torch.empty(3, 2).t(), "it promises the strides (3, 1), and the kernel returns (1, 2)"),
        ((torch.empty(2),), (torch.empty(2), torch.empty(2)), "it promises 1 results, and the kernel returns 2"),
        ((torch.empty(2), 3), (torch.empty(2),) * 2, "it promises a int for result 1, and the kernel returns a Tensor"),
        (torch.empty(1, 3), torch.empty(3, 1).t(), None),
        (torch.empty(0, 3), torch.empty(3, 0).t(), None),
    ],
    ids=["strides", "count", "kind", "one row", "empty"],
)
def test_difference_of_a_fake_result(fake: Any, real: Any, words: str | None) -> None:
    found = difference("lab::f", fake, real)
    assert (found.difference if found else None) == words
