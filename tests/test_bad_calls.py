"""Every misuse, with its whole message; and what a call, good or bad, leaves as it was."""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops, specs
from gradcheck_lab.engine.variable import Variable
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.probes import PROBES
from gradcheck_lab.rules.op import Op
from gradcheck_lab.strategies import calls, rank1_trap, tensors

X = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], dtype=torch.float64)
W = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
B = torch.tensor([0.5], dtype=torch.float64)
LABELS = torch.tensor([0, 2])

double = Op(lambda x: 2 * x, lambda grad_output, output, x: (2 * grad_output,), name="double")
forward_only = Op(lambda x: 2 * x, name="forward_only")


def raises_it(x: torch.Tensor) -> torch.Tensor:
    raise ArithmeticError("the forward cannot do this")


def two_outputs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, 2 * x


pair = Op(two_outputs, lambda grad_outputs, outputs, x: (grad_outputs[0] + 2 * grad_outputs[1],), name="pair")
of_strings = Op(lambda x: "text", lambda grad_output, output, x: (grad_output,), name="of_strings")


def of_nothing(x: Any) -> torch.Tensor:
    return torch.ones(2)


def applies_torch(x: Any) -> Any:
    return torch.neg_(ops.relu(x))


def calls_a_method(x: Any) -> Any:
    return ops.relu(x.requires_grad_())


# what is called, the whole message
ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "no-inputs": (
        lambda: gl.check(ops.relu),
        "relu was given no inputs; pass its tensors: gl.check(relu, x, ...)",
    ),
    "list-for-a-tensor": (
        lambda: gl.check(double, [1.0, 2.0]),
        "input 0 of double is a list; pass a tensor, such as torch.as_tensor(..., dtype=torch.float64), "
        "or give it by keyword in options=",
    ),
    "array-for-a-tensor": (
        lambda: gl.check(double, np.ones(2)),
        "input 0 of double is a ndarray; pass a tensor, such as torch.as_tensor(..., "
        "dtype=torch.float64), or give it by keyword in options=",
    ),
    "variable-for-a-tensor": (
        lambda: gl.check(double, Variable(1.0)),
        "input 0 of double is a Variable; pass a tensor, such as torch.as_tensor(..., "
        "dtype=torch.float64), or give it by keyword in options=",
    ),
    "integers-where-a-gradient-is-wanted": (
        lambda: gl.check(ops.linear, X.long(), W, B),
        "linear: input 'x' is int64 and real('*b d_in') wants a gradient; pass x.double()",
    ),
    "nothing-differentiable": (
        lambda: gl.check(double, torch.tensor([1, 2])),
        "nothing to compare: no input of double is a floating tensor (int64); pass x.double() where a gradient is wanted",
    ),
    "nothing-differentiable-of-several": (
        lambda: gl.check(ops.add, torch.tensor([1, 2]), torch.tensor([True, False])),
        "add: input 'a' is int64 and real('*#s') wants a gradient; pass a.double()",
    ),
    "shape-against-another-input": (
        lambda: gl.check(ops.linear, X, torch.ones(1, 4).double(), B),
        "linear: 'weight' has shape (1, 4), so 'd_in' is 4, but 'x' has 3; its spec is real('d_out d_in')",
    ),
    "too-few-dimensions": (
        lambda: gl.check(ops.linear, X, torch.ones(3).double(), B),
        "linear: 'weight' has shape (3,) with 1 dimensions; its spec real('d_out d_in') needs 2",
    ),
    "shapes-that-do-not-broadcast": (
        lambda: gl.check(ops.add, X, torch.ones(2).double()),
        "add: 'b' has shape (2,), so '*#s' is 2, but 'a' has (2, 3); its spec is real('*#s')",
    ),
    "scalar-to-matmul": (
        lambda: gl.check(ops.matmul, X, torch.ones(()).double()),
        "matmul: 'b' has shape (), no dimension to sum over; multiply by a scalar with ops.mul",
    ),
    "too-few-inputs": (
        lambda: gl.check(ops.linear, X),
        "linear: it takes 2 inputs and 1 were given",
    ),
    "too-few-inputs-of-a-loss": (
        lambda: gl.check(ops.mse_loss, X),
        "mse_loss: it takes 2 inputs and 1 were given",
    ),
    "too-many-inputs-of-a-loss": (
        lambda: gl.check(ops.softmax_cross_entropy, X, LABELS, X),
        "softmax_cross_entropy: it takes 2 inputs and 3 were given",
    ),
    "too-many-inputs": (
        lambda: gl.check(ops.relu, X, W),
        "relu: it takes 1 inputs and 2 were given",
    ),
    "mixed-devices": (
        lambda: gl.check(ops.linear, X, W.to("meta"), B),
        "the inputs of linear are on cpu and meta; move them to one device",
    ),
    "op-without-backward": (
        lambda: gl.check(forward_only, X),
        "forward_only has no backward; pass gl.Op(forward, backward) or register one with @forward_only.backward",
    ),
    "not-an-op": (
        lambda: gl.check(3, X),
        "cannot check an object of type int; pass gl.Op(forward, backward) or a function that calls ops",
    ),
    "nan-in-an-input": (
        lambda: gl.check(ops.linear, X, W * float("nan"), B),
        "input 1 'weight' of linear holds NaN or inf, where no gradient is defined; pass finite numbers",
    ),
    "inf-in-an-input": (
        lambda: gl.check(ops.relu, X / 0),
        "input 0 'x' of relu holds NaN or inf, where no gradient is defined; pass finite numbers",
    ),
    "keyword-of-the-forward": (
        lambda: gl.check(double, X, eps=1e-3),
        "check has no argument 'eps'; what the forward takes by keyword goes into options: options={'eps': 0.001}",
    ),
    "keyword-of-the-forward-in-fuzz": (
        lambda: gl.fuzz(double, "real('n')", options={"dim": 0}, eps=1e-3),
        "fuzz has no argument 'eps'; what the forward takes by keyword goes into options: options={'dim': 0, 'eps': 0.001}",
    ),
    "seed-that-is-a-string": (lambda: gl.check(double, X, seed="x"), "seed is 'x'; pass a whole number"),
    "seed-that-is-none": (lambda: gl.check(double, X, seed=None), "seed is None; pass a whole number"),
    "seed-that-is-a-fraction": (lambda: gl.check(double, X, seed=1.5), "seed is 1.5; pass a whole number"),
    "seed-that-is-a-truth-value": (lambda: gl.check(double, X, seed=True), "seed is True; pass a whole number"),
    "seed-that-is-a-tensor": (lambda: gl.check(double, X, seed=torch.tensor([1])), "seed is a Tensor; pass a whole number"),
    "seed-that-is-too-large": (
        lambda: gl.check(double, X, seed=2**64),
        "seed is 18446744073709551616; pass a whole number of at most 62 bits",
    ),
    "allow-none": (lambda: gl.check(double, X, allow=None), "allow is None; pass a set of names, or () for none"),
    "allow-a-number": (lambda: gl.check(double, X, allow=5), "allow is 5; pass a set of names, or () for none"),
    "probes-none": (lambda: gl.check(double, X, probes=None), "probes is None; pass a set of names, or () for none"),
    "probes-a-number": (lambda: gl.check(double, X, probes=5), "probes is 5; pass a set of names, or () for none"),
    "options-a-number": (
        lambda: gl.check(double, X, options=3),
        "options is 3; pass a dict of keyword arguments: options={'dim': 1}",
    ),
    "options-a-list": (
        lambda: gl.check(double, X, options=[1]),
        "options is a list of 1; pass a dict of keyword arguments: options={'dim': 1}",
    ),
    "options-by-number": (
        lambda: gl.check(double, X, options={1: 2}),
        "options has the key 1; pass a dict of keyword arguments: options={'dim': 1}",
    ),
    "order-that-is-a-string": (lambda: gl.check(double, X, order="2"), "order is '2'; pass 1 or 2"),
    "order-that-is-a-truth-value": (lambda: gl.check(double, X, order=True), "order is True; pass 1 or 2"),
    "order-that-is-a-fraction": (lambda: gl.check(double, X, order=2.0), "order is 2.0; pass 1 or 2"),
    "seed-of-fuzz": (lambda: gl.fuzz(double, "real('n')", seed="x"), "seed is 'x'; pass a whole number"),
    "options-of-fuzz": (
        lambda: gl.fuzz(double, "real('n')", options=3),
        "options is 3; pass a dict of keyword arguments: options={'dim': 1}",
    ),
    "examples-that-are-a-truth-value": (
        lambda: gl.fuzz(double, "real('n')", max_examples=True),
        "max_examples is True; pass a whole number of at least 1",
    ),
    "no-elements": (
        lambda: gl.check(double, X[:0]),
        "nothing was compared for double: 0 of 1 input (1 no elements), 0 of 1 output (1 no elements), "
        "0 of 34 derived calls (34 no elements); pass inputs with elements that a floating output depends on",
    ),
    "compare-without-elements": (
        lambda: gl.compare({"w": X[:0]}, {"w": X[:0]}),
        "nothing to compare: 'w' has no elements; pass gradients that have some",
    ),
    "output-of-integers": (
        lambda: gl.check(Op(lambda x: x.long(), double.rule, name="long"), X),
        "nothing to compare: no output of long is a floating tensor (int64); return one that a gradient is wanted of",
    ),
    "upstream-of-zeros": (
        lambda: gl.check(double, X, grad_output=0 * X),
        "grad_output is zero in every element, and so is every gradient of double then; leave it out",
    ),
    "upstream-of-nan": (
        lambda: gl.check(double, X, grad_output=X * torch.nan),
        "grad_output holds NaN or inf; pass finite numbers",
    ),
    "sparse-input": (
        lambda: gl.check(double, X.to_sparse()),
        "input 0 'x' of double is a sparse tensor; pass value.to_dense()",
    ),
    "meta-input": (
        lambda: gl.check(double, X.to("meta")),
        "input 0 'x' of double is a tensor on meta, which has no values; pass a tensor on a device",
    ),
    "float8-input": (
        lambda: gl.check(double, X.to(torch.float8_e4m3fn)),
        "input 0 'x' of double is of the dtype float8_e4m3fn; pass value.float()",
    ),
    "sparse-output": (
        lambda: gl.check(Op(lambda x: x.to_sparse(), double.rule, name="to_sparse"), X),
        "the forward of to_sparse returned a sparse tensor as output 0; return value.to_dense() for the check",
    ),
    "unknown-option": (
        lambda: gl.check(ops.mse_loss, X, X, options={"reductoin": "sum"}),
        "mse_loss has no option 'reductoin'; it accepts reduction",
    ),
    "option-where-there-is-none": (
        lambda: gl.check(ops.relu, X, options={"inplace": True}),
        "relu has no option 'inplace'; it accepts none",
    ),
    "unknown-option-of-a-program": (
        lambda: gl.check(lambda x: ops.relu(x), X, options={"p": 2}),
        "<lambda> has no option 'p'; it accepts none",
    ),
    "unknown-reduction-of-mse": (
        lambda: gl.check(ops.mse_loss, X, X, options={"reduction": "median"}),
        "mse_loss has no reduction 'median'; it has 'none', 'mean', 'sum', 'batchmean'",
    ),
    "unknown-reduction-of-cross-entropy": (
        lambda: gl.check(ops.softmax_cross_entropy, X, LABELS, options={"reduction": "batchmean"}),
        "softmax_cross_entropy has no reduction 'batchmean'; it has 'none', 'mean', 'sum'",
    ),
    "column-against-vector": (
        lambda: gl.check(ops.mse_loss, torch.ones(4, 1), torch.ones(4)),
        "mse_loss: prediction has shape (4, 1) and target (4,); they would broadcast to (4, 4); pass target.reshape((4, 1))",
    ),
    "vector-against-column": (
        lambda: gl.check(ops.mse_loss, torch.ones(4), torch.ones(4, 1)),
        "mse_loss: prediction has shape (4,) and target (4, 1); they would broadcast to (4, 4); pass target.reshape((4,))",
    ),
    "different-lengths": (
        lambda: gl.check(ops.mse_loss, torch.ones(4, 1), torch.ones(3, 1)),
        "mse_loss: prediction has shape (4, 1) and target (3, 1); they do not fit; give both the same shape",
    ),
    "broadcast-target": (
        lambda: gl.check(ops.mse_loss, torch.ones(4, 2), torch.ones(1, 2)),
        "mse_loss: prediction has shape (4, 2) and target (1, 2); they would broadcast to (4, 2); give both the same shape",
    ),
    "labels-that-are-floats": (
        lambda: gl.check(ops.softmax_cross_entropy, X, LABELS.double()),
        "softmax_cross_entropy: target is torch.float64 of shape (2,) for logits of shape (2, 3); class "
        "labels are whole numbers; pass target.long()",
    ),
    "labels-out-of-range": (
        lambda: gl.check(ops.softmax_cross_entropy, X, torch.tensor([0, 3])),
        "softmax_cross_entropy: labels range from 0 to 3 and 3 classes have labels 0 to 2; renumber the "
        "labels or widen the logits",
    ),
    "negative-labels": (
        lambda: gl.check(ops.softmax_cross_entropy, X, torch.tensor([-1, 2])),
        "softmax_cross_entropy: labels range from -1 to 2 and 3 classes have labels 0 to 2; renumber the "
        "labels or widen the logits",
    ),
    "labels-of-the-wrong-length": (
        lambda: gl.check(ops.softmax_cross_entropy, X, torch.tensor([0, 1, 2])),
        "softmax_cross_entropy: target has shape (3,) and logits of shape (2, 3) have rows (2,); pass one class label per row",
    ),
    "weights-of-the-wrong-shape": (
        lambda: gl.check(ops.softmax_cross_entropy, X, torch.ones(2, 2).double()),
        "softmax_cross_entropy: target is torch.float64 of shape (2, 2) for logits of shape (2, 3); pass one weight per logit",
    ),
    "unknown-probe": (
        lambda: gl.check(ops.relu, X, probes=("strides",)),
        f"probes names 'strides', which is unknown; known: {', '.join(sorted(PROBES))}",
    ),
    "unknown-cause": (
        lambda: gl.check(ops.relu, X, allow={"wrong"}),
        f"allow names 'wrong', which is unknown; known: {', '.join(sorted(CAUSES))}",
    ),
    "cause-as-a-string": (
        lambda: gl.check(ops.relu, X, allow="sign"),
        "allow is a string; pass a set: allow={'sign'}",
    ),
    "order-3": (
        lambda: gl.check(ops.relu, X, order=3),
        "order is 3; pass 1 or 2",
    ),
    "reference-that-is-no-function": (
        lambda: gl.check(ops.relu, X, reference=X),
        "reference is a Tensor; pass the same function written with torch's own functions",
    ),
    "grad-output-of-another-shape": (
        lambda: gl.check(ops.relu, X, grad_output=torch.ones(3, 2)),
        "grad_output 0 has shape (3, 2) and output 0 of relu has (2, 3); pass one of the output's shape",
    ),
    "one-grad-output-for-two-outputs": (
        lambda: gl.check(pair, X, grad_output=X),
        "1 grad_outputs were given and pair has 2 outputs; pass one per output, as a tuple",
    ),
    "grad-output-that-is-a-number": (
        lambda: gl.check(ops.relu, X, grad_output=1.0),
        "grad_output 0 is a float; pass a tensor of the output's shape",
    ),
    "forward-that-returns-text": (
        lambda: gl.check(of_strings, X),
        "the forward of of_strings returned a str as output 0; return a tensor or a tuple of tensors",
    ),
    "program-that-ignores-its-inputs": (
        lambda: gl.check(of_nothing, X),
        "nothing was compared for of_nothing: 0 of 1 input (1 no oracle), 1 output; "
        "pass inputs with elements that a floating output depends on",
    ),
    "torch-function-in-a-program": (
        lambda: gl.check(applies_torch, X),
        "torch's neg_ was applied to a Variable, which nothing writes to; use neg and give its result a name",
    ),
    "tensor-method-in-a-program": (
        lambda: gl.check(calls_a_method, X),
        "torch's requires_grad_ was applied to a Variable, which runs hand-written ops only; write it as an op: "
        "gl.Op(forward, backward, name='requires_grad_')",
    ),
    "forward-that-is-no-function": (
        lambda: gl.Op(3),
        "the forward of an Op is a function and a int was given; pass gl.Op(forward, backward)",
    ),
    "backward-that-is-no-function": (
        lambda: gl.Op(torch.relu, 3),
        "the backward of an Op is a function and a int was given; pass gl.Op(forward, backward)",
    ),
    "op-without-forward": (
        lambda: gl.Op(None),
        "an Op needs a forward; pass gl.Op(forward, backward)",
    ),
    "op-called-without-its-inputs": (
        lambda: ops.linear(X),
        "linear: it takes 2 inputs and 1 were given",
    ),
    "op-called-with-a-number": (
        lambda: ops.relu(1.0),
        "relu: input 'x' is a float; pass a tensor that fits real('*s')",
    ),
    "as-function-without-backward": (
        lambda: forward_only.as_function(),
        "forward_only has no backward; pass gl.Op(forward, backward) or register one with @forward_only.backward",
    ),
    "rule-that-is-missing": (
        lambda: forward_only.backward(X, X, X),
        "forward_only has no backward; pass gl.Op(forward, backward) or register one with @forward_only.backward",
    ),
    "variable-of-text": (
        lambda: Variable("text"),
        "a Variable holds a tensor or a number and a str was given; pass Variable(torch.as_tensor(data))",
    ),
    "backward-of-a-matrix-without-grad-output": (
        lambda: Variable(X).backward(),
        "backward of a Variable of shape (2, 3) needs grad_output of that shape; only a single element has a default, 1",
    ),
    "backward-with-another-shape": (
        lambda: Variable(X).backward(B),
        "grad_output has shape (1,) and the Variable has (2, 3); pass one of the same shape",
    ),
    "torch-function-on-a-variable": (
        lambda: torch.relu(Variable(X)),
        "torch's relu was applied to a Variable, which runs hand-written ops only; use gradcheck_lab.ops.relu",
    ),
    "torch-function-without-an-op": (
        lambda: torch.lgamma(Variable(X)),
        "torch's lgamma was applied to a Variable, which runs hand-written ops only; write it as an op: "
        "gl.Op(forward, backward, name='lgamma')",
    ),
    "backward-through-an-op-without-one": (
        lambda: forward_only(Variable(1.0)).backward(),
        "forward_only has no backward; pass gl.Op(forward, backward) or register one with @forward_only.backward",
    ),
    "rule-that-returns-too-many": (
        lambda: Op(torch.exp, lambda g, y, x: (g, g), name="twice")(Variable(1.0)).backward(),
        "the backward of twice returned 2 gradients for 1 inputs; return one per input, None where not differentiable",
    ),
    "empty-range": (
        lambda: specs.integers("n", low=3, high=3),
        "integers needs low < high and got low=3, high=3; widen the range",
    ),
    "unreadable-dimension": (
        lambda: specs.real("n d!"),
        "the dimension 'd!' in 'n d!' cannot be read; write a name, a size, '*name' or '#name'",
    ),
    "two-variadic-dimensions": (
        lambda: specs.real("*a *b"),
        "the spec '*a *b' has more than one '*' dimension; keep one",
    ),
    "unreadable-spec": (
        lambda: specs.parse("real('n'"),
        "the spec \"real('n'\" cannot be read; write it as real('n d') or labels('n', classes='c')",
    ),
    "spec-that-is-code": (
        lambda: specs.parse("real(open('x'))"),
        "the spec \"real(open('x'))\" cannot be read; write it as real('n d') or labels('n', classes='c')",
    ),
    "unknown-kind-of-spec": (
        lambda: specs.parse("reel('n')"),
        "the spec \"reel('n')\" has an unknown kind 'reel'; known kinds: integers, labels, mask, nonzero, "
        "one_hot, positive, probabilities, real",
    ),
    "wrong-arguments-of-a-spec": (
        lambda: specs.parse("labels('n')"),
        "the spec \"labels('n')\" has wrong arguments (labels() missing 1 required keyword-only argument: "
        "'classes'); write it as real('n d') or labels('n', classes='c')",
    ),
    "fixed-size-that-differs": (
        lambda: specs.bind([specs.real("n 2")], [(3, 4)], ["x"]),
        "'x' has shape (3, 4), so '2' is 4, but it is fixed to 2; its spec is real('n 2')",
    ),
    "report-of-another-schema": (
        lambda: gl.Report.from_dict({"schema": 99}),
        "the report has schema 99 and this version reads schemas 3, 4, 5, 6 and 7; make it again with this version",
    ),
    "calls-of-a-function": (
        lambda: calls(torch.relu),  # type: ignore[arg-type]
        "calls are drawn for an op and a builtin_function_or_method was given; pass gl.Op(forward, backward)",
    ),
    "calls-without-specs": (
        lambda: calls(double),
        "double has no specs to draw from; declare them: gl.Op(..., specs=(real('n d'),))",
    ),
    "calls-of-integers": (
        lambda: calls(ops.relu, dtypes=(torch.int64,)),
        "dtypes is (torch.int64,); pass floating dtypes, such as (torch.float64,)",
    ),
    "calls-of-no-dtype": (
        lambda: calls(ops.relu, dtypes=()),
        "dtypes is (); pass floating dtypes, such as (torch.float64,)",
    ),
    "calls-of-no-size": (
        lambda: calls(ops.relu, max_size=0),
        "max_size is 0; pass a whole number of at least 1",
    ),
    "calls-with-numbers-for-elements": (
        lambda: calls(ops.relu, elements=[0.0, 1.0]),  # type: ignore[arg-type]
        "elements is a list; pass a strategy of numbers, such as st.floats(-3, 3)",
    ),
    "tensors-of-nothing": (
        lambda: tensors(),
        "tensors was given no spec; pass one per tensor, such as real('n d')",
    ),
    "tensors-of-a-shape": (
        lambda: tensors((2, 3)),  # type: ignore[arg-type]
        "a tuple is no spec; describe each input, such as real('n d'), and let its values be drawn",
    ),
    "tensors-of-uncounted-labels": (
        lambda: tensors("real('n')", "labels('n', classes='c')"),
        "labels('n', classes='c') counts its classes by 'c', which is no dimension of any input; use one of 'n'",
    ),
    "rank1-trap-of-one-element": (
        lambda: rank1_trap(max_size=1),
        "max_size is 1; pass a whole number of at least 2, for a pair that broadcasts",
    ),
    "rank1-trap-of-integers": (
        lambda: rank1_trap(dtypes=(torch.int64,)),
        "dtypes is (torch.int64,); pass floating dtypes, such as (torch.float64,)",
    ),
    "fuzz-with-tensors": (
        lambda: gl.fuzz(ops.linear, X, W, B),
        "a Tensor is no spec; describe each input, such as real('n d'), and let its values be drawn",
    ),
    "fuzz-without-specs": (
        lambda: gl.fuzz(double),
        "double has no specs to draw from; pass one per input: gl.fuzz(double, real('n d'), ...)",
    ),
    "fuzz-of-no-example": (
        lambda: gl.fuzz(ops.relu, max_examples=0),
        "max_examples is 0; pass a whole number of at least 1",
    ),
    "fuzz-of-third-order": (
        lambda: gl.fuzz(ops.relu, order=3),
        "order is 3; pass 1 or 2",
    ),
    "fuzz-that-allows-a-string": (
        lambda: gl.fuzz(ops.relu, allow="wrong-value"),
        "allow is a string; pass a set: allow={'wrong-value'}",
    ),
    "fuzz-without-a-backward": (
        lambda: gl.fuzz(forward_only, "real('n')"),
        "forward_only has no backward; pass gl.Op(forward, backward) or register one with @forward_only.backward",
    ),
    "fuzz-with-too-few-specs": (
        lambda: gl.fuzz(ops.linear, "real('n d')"),
        "linear: it takes 2 inputs and 1 were given",
    ),
    "fuzz-with-an-unknown-option": (
        lambda: gl.fuzz(ops.relu, options={"slope": 0.1}),
        "relu has no option 'slope'; it accepts none",
    ),
    "fuzz-of-a-number": (
        lambda: gl.fuzz(3, "real('n')"),
        "cannot check an object of type int; pass gl.Op(forward, backward) or a function that calls ops",
    ),
    "fuzz-of-whole-numbers": (
        lambda: gl.fuzz(double, "integers('n')"),
        "nothing to compare: no input of double is a floating tensor (int64); pass x.double() where a gradient is wanted",
    ),
    "fuzz-against-a-number": (
        lambda: gl.fuzz(ops.relu, reference=1),
        "reference is a int; pass the same function written with torch's own functions",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_misuse_is_refused_with_its_whole_message(name: str) -> None:
    call, message = ROWS[name]
    with pytest.raises(gl.InvalidArgument) as error:
        call()
    assert str(error.value) == message


# what an op's author did wrong is a finding of the report, never an exception of the toolkit


@pytest.mark.parametrize(("op", "lines"), [
    (
        Op(raises_it, double.rule, name="raises_it"),
        [
            "raises_it: forward raised ArithmeticError",
            "  cause: raises - the forward cannot do this",
            "  fix: look at the forward's traceback below",
        ],
    ),
    (
        Op(torch.exp, lambda grad_output, output, x: raises_it(x), name="raises_it_backward"),
        [
            "raises_it_backward: backward raised ArithmeticError",
            "  cause: raises - the forward cannot do this",
            "  fix: look at the backward's traceback below",
        ],
    ),
    (
        Op(torch.exp, lambda grad_output, output, x: (), name="too_few"),
        [
            "too_few: backward returned 0 gradients for 1 inputs",
            "  cause: gradient-count - returned 0 for 1 inputs",
            "  fix: return one gradient per input, in order, None where not differentiable",
        ],
    ),
    (
        Op(torch.exp, lambda grad_output, output, x: (grad_output * output, None), name="too_many"),
        [
            "too_many: backward returned 2 gradients for 1 inputs",
            "  cause: gradient-count - returned 2 for 1 inputs",
            "  fix: return one gradient per input, in order, None where not differentiable",
        ],
    ),
], ids=lambda value: value.name if isinstance(value, Op) else "")  # fmt: skip
def test_mistake_of_the_author_is_a_finding(op: Op, lines: list[str]) -> None:
    report = gl.check(op, X)
    assert report.verdict == "fail"
    assert str(report).splitlines()[:3] == lines


def test_assert_gradients_raises_with_the_report() -> None:
    wrong = Op(lambda x: 2 * x, lambda grad_output, output, x: (grad_output,), name="halved")
    with pytest.raises(gl.GradientMismatch) as error:
        gl.assert_gradients(wrong, X)
    assert error.value.report.verdict == "fail"
    assert str(error.value) == str(error.value.report)


def writes_everywhere(x: torch.Tensor) -> torch.Tensor:
    torch.rand(3)
    random.random()
    np.random.rand()
    return x.mul_(2)


def writes_everywhere_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
    torch.randn(2)
    x.zero_()
    output.zero_()
    return (grad_output.mul_(2),)


# calls that run the user's code, besides the misuses above
GOOD_AND_FAILING: dict[str, Callable[[torch.Tensor], Any]] = {
    "pass": lambda x: gl.check(ops.relu, x),
    "compare-only": lambda x: gl.check(ops.relu, x, probes=()),
    "program": lambda x: gl.check(lambda x: ops.relu(x * x) + x, x),
    "given-upstream": lambda x: gl.check(ops.relu, x, grad_output=x),
    "one-tensor-twice": lambda x: gl.check(ops.mul, x, x),
    "fail": lambda x: gl.check(Op(torch.exp, double.rule), x),
    "wrong-count": lambda x: gl.check(Op(torch.exp, lambda g, y, x: ()), x),
    "forward-raises": lambda x: gl.check(Op(raises_it, double.rule), x),
    "backward-raises": lambda x: gl.check(Op(torch.exp, lambda g, y, x: raises_it(x)), x),
    "writes-everywhere": lambda x: gl.check(Op(writes_everywhere, writes_everywhere_backward), x),
    "assertion": lambda x: gl.assert_gradients(Op(torch.exp, double.rule), x),
    "unknown-option": lambda x: gl.check(ops.relu, x, options={"inplace": True}),
    "not-finite": lambda x: gl.check(ops.relu, x / 0),
    "wrong-upstream": lambda x: gl.check(ops.relu, x, grad_output=torch.ones(1)),
    "interrupted": lambda x: gl.check(Op(interrupted, double.rule), x),
    "variable": lambda x: ops.relu(Variable(x)).backward(torch.ones(2, 3).double()),
    "function": lambda x: ops.relu.as_function()(x.detach()),
}


def interrupted(x: torch.Tensor) -> torch.Tensor:
    torch.rand(1)
    raise KeyboardInterrupt


def generators() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), (name, keys.tolist(), *rest)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "expanded"])
@pytest.mark.parametrize("name", GOOD_AND_FAILING)
def test_call_leaves_tensors_and_generators_as_they_were(name: str, layout: str) -> None:
    whole = X.clone()
    x = {"contiguous": whole, "transposed": X.T.clone().T, "expanded": whole[:1].expand(2, 3)}[layout]
    x.requires_grad_()
    x.grad = torch.full((2, 3), 7.0, dtype=torch.float64)
    values, grad, version = x.detach().clone(), x.grad, x._version
    before = generators()
    with suppress(ValueError, AssertionError, KeyboardInterrupt):
        GOOD_AND_FAILING[name](x)
    assert generators() == before
    assert torch.equal(x, values)
    assert x._version == version
    assert x.grad is grad
    assert torch.equal(grad, torch.full((2, 3), 7.0, dtype=torch.float64))
    assert x.requires_grad
    assert x.is_leaf
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ROWS)
def test_misuse_leaves_generators_as_they_were(name: str) -> None:
    before = generators()
    with pytest.raises(ValueError):  # noqa: PT011
        ROWS[name][0]()
    assert generators() == before


def test_check_does_not_switch_requires_grad_on() -> None:
    x = X.clone()
    gl.check(ops.relu, x)
    assert not x.requires_grad
    assert x.grad is None


def test_check_gives_the_same_report_for_the_same_seed() -> None:
    wrong = Op(torch.exp, double.rule, name="wrong")
    torch.manual_seed(1)
    first = gl.check(wrong, X, seed=3)
    torch.manual_seed(2)
    second = gl.check(wrong, X, seed=3)
    assert (first.gradients, first.findings) == (second.gradients, second.findings)
    assert gl.check(wrong, X, seed=4).gradients != first.gradients


def test_check_works_within_no_grad() -> None:
    with torch.no_grad():
        assert gl.check(ops.relu, X, probes=()).verdict == "pass"
        assert not torch.is_grad_enabled()


def test_check_works_within_inference_mode() -> None:
    with torch.inference_mode():
        assert gl.check(ops.relu, torch.tensor([1.0, -2.0]), probes=()).verdict == "pass"


def test_check_works_with_another_default_dtype() -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert gl.check(ops.linear, X.float(), W.float(), B.float(), probes=()).verdict == "pass"
    finally:
        torch.set_default_dtype(before)
