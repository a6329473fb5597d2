"""Sizes that no cycle of all dimensions reaches: rests of blocks and windows, one dimension alone, no row at all."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.report import Report
from tests.mistakes.registry import array, normal

# mypy: disable-error-code="override"


def assert_named(wrong: Any, sound: Any, inputs: tuple[Any, ...], cause: str) -> Report:
    """The wrong one fails under the cause, found by the sizes; the sound one passes in silence."""
    report = gl.check(wrong, *inputs, probes=("sizes",))
    assert [f.cause for f in report.findings if f.severity == "error"][:1] == [cause], report
    silent = gl.check(sound, *inputs, probes=("sizes",))
    assert silent.verdict == "pass", silent
    assert not [f for f in silent.findings if f.severity != "note"], silent
    return report


def sums_of_windows(wrong: bool) -> Any:
    """The backward zeroes what the windows reach, and the rest of (length - 3) / 2 stays as it was allocated."""

    def forward(x: Tensor) -> Tensor:
        return x.unfold(-1, 3, 2).sum(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        dx = torch.empty_like(x)
        dx[..., : 2 * g.shape[-1] + 1 if wrong else None] = 0
        for k in range(g.shape[-1]):
            dx[..., 2 * k : 2 * k + 3] += g[..., k : k + 1]
        return (dx,)

    return gl.Op(forward, backward, name="window_sums")


def test_rest_that_no_window_covers_is_unwritten_whatever_lies_there() -> None:
    assert_named(sums_of_windows(True), sums_of_windows(False), (normal(2, 7),), "unwritten-elements")


def first_four(wrong: bool) -> Any:
    """The first four channels are turned in pairs, those behind them pass through."""

    class Turned(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if x.shape[-1] < 4:
                raise ValueError("expected four channels")
            a, b, rest = x[..., :2], x[..., 2:4], x[..., 4:]
            return torch.cat([0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b, rest], -1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            a, b, rest = g[..., :2], g[..., 2:4], g[..., 4:]
            return torch.cat([0.6 * a + 0.8 * b, 0.6 * b - 0.8 * a, 0.6 * rest if wrong else rest], -1)

    return Turned


def test_rest_that_the_forward_takes_by_itself_is_meant() -> None:
    assert_named(first_four(True), first_four(False), (normal(2, 5, 4),), "size-specialised")


def shared_keys(wrong: bool) -> Any:
    """Head h of H takes key h·K/H, rounded down; the rule finds it by a group of H/K heads, right where K divides H."""

    def place(heads: int, keys: int) -> Tensor:
        return torch.arange(heads) * keys // heads

    def backward(g: Tensor, y: Tensor, q: Tensor, k: Tensor) -> Any:
        heads, keys = q.shape[1], k.shape[1]
        at = place(heads, keys)
        to = (torch.arange(heads) // max(heads // keys, 1)).clamp(max=keys - 1) if wrong else at
        return g * k[:, at], torch.zeros_like(k).index_add(1, to, g * q)

    return gl.Op(lambda q, k: q * k[:, place(q.shape[1], k.shape[1])], backward, name="shared")


def test_multiple_that_is_none_in_the_code_is_broken() -> None:
    assert_named(shared_keys(True), shared_keys(False), (normal(3, 4, 5), normal(3, 2, 5, seed=1)), "size-specialised")


def last_three(wrong: bool) -> Any:
    """The last three of a state and what follows it; of a sequence shorter than that, some of the state stay."""

    class Delay(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, state: Tensor) -> Tensor:
            if state.shape[-1] != 3:
                raise ValueError("expected a state of three")
            ctx.length = x.shape[-1]
            return 2 * torch.cat([state, x], -1)[..., -3:]

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            both = torch.nn.functional.pad(2 * g, (ctx.length, 0))
            return both[..., 3:], both[..., :3] / 2 if wrong else both[..., :3]

    return Delay


def test_sequence_is_made_shorter_than_a_state_of_half_its_length() -> None:
    assert_named(last_three(True), last_three(False), (normal(2, 6), normal(2, 3, seed=1)), "size-specialised")


def packed(wrong: bool) -> Any:
    """A mask of eight to a block; elements behind the last whole block are masked out, which is no memory left unwritten."""

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        kept = torch.zeros(x.numel(), dtype=torch.bool)
        whole = x.numel() // 8 * 8 if wrong else x.numel()
        kept[:whole] = x.reshape(-1)[:whole] > 0
        return (torch.where(kept.view_as(x), g, 0),)

    return gl.Op(lambda x: x.clamp(min=0), backward, name="packed")


def test_rest_that_is_masked_out_is_written() -> None:
    assert_named(packed(True), packed(False), (normal(6, 4),), "size-specialised")


def means_of_pairs(wrong: bool) -> Any:
    """Pairs are averaged, and what is left over is not; the backward repeats the last gradient there, or gives 0."""

    class Means(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.shape = x.shape
            return x[..., : x.shape[-1] // 2 * 2].unflatten(-1, (-1, 2)).mean(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            dx, rest = g.repeat_interleave(2, -1) / 2, ctx.shape[-1] % 2
            return torch.cat([dx, dx[..., -rest:] if wrong else 0 * dx[..., -rest:]], -1) if rest else dx

    return Means


def means_of_whole_pairs(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (grad_output.repeat_interleave(2, -1) / 2,)


def test_rest_that_windows_leave_out_is_meant_where_the_gradient_has_its_shape() -> None:
    assert_named(means_of_pairs(True), means_of_pairs(False), (normal(3, 8),), "size-specialised")
    whole = gl.Op(lambda x: x[..., : x.shape[-1] // 2 * 2].unflatten(-1, (-1, 2)).mean(-1), means_of_whole_pairs)
    assert gl.check(whole, normal(3, 8), probes=("sizes",)).verdict == "pass"


def linear(wrong: bool) -> Any:
    """Any number of leading dimensions; for none, the weight's gradient is doubled."""

    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        dw = x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])
        return g @ w.T, 2 * dw if wrong and x.ndim == 1 else dw

    return gl.Op(lambda x, w: x @ w, backward, name="linear")


def test_row_alone_is_meant_where_rows_of_rows_are() -> None:
    assert_named(linear(True), linear(False), (normal(5, 3), normal(3, 4, seed=1)), "size-specialised")


def test_row_alone_is_not_meant_by_sums_over_the_rows() -> None:
    class Affine:
        def __init__(self) -> None:
            self.W, self.b = array(3, 3, seed=1), array(3, seed=2)
            self.dW, self.db = np.zeros((3, 3)), np.zeros(3)

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout: Any) -> Any:
            self.dW[...], self.db[...] = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.W.T

    assert gl.check(Affine(), array(5, 3), probes=("sizes",)).verdict == "pass"


def mean_slope(wrong: bool) -> Any:
    """A linear fit to as many examples as there are features, which stand in columns; their number is read off the rows."""

    def forward(X: Tensor, w: Tensor, y: Tensor) -> Tensor:
        return ((w @ X - y) ** 2).sum() / X.shape[1]

    def backward(g: Tensor, loss: Tensor, X: Tensor, w: Tensor, y: Tensor) -> Any:
        far = 2 * g * (w @ X - y) / X.shape[0 if wrong else 1]
        return w.T @ far, far @ X.T, -far

    return gl.Op(forward, backward, name="fit")


def test_as_many_features_as_examples_are_told_apart() -> None:
    call = normal(4, 4), normal(1, 4, seed=1), normal(1, 4, seed=2)
    assert_named(mean_slope(True), mean_slope(False), call, "size-specialised")


def means_of_windows(rest: str) -> Any:
    """Means of k each; of what is left over the gradient is 0, that of the last window, or none of that shape."""

    class Means(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
            ctx.shape, ctx.k = x.shape, k
            return x[..., : x.shape[-1] // k * k].unflatten(-1, (-1, k)).mean(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            dx = g.repeat_interleave(ctx.k, -1) / (2 if rest == "k" else ctx.k)
            left = ctx.shape[-1] - dx.shape[-1] if rest != "none" else 0
            last = dx[..., -1:] if rest == "last" else 0 * dx[..., -1:]
            return torch.cat([dx, last.expand(*dx.shape[:-1], left)], -1), None

    return Means


@pytest.mark.parametrize(
    ("rest", "expected"), [("zero", []), ("last", ["size-specialised"]), ("none", []), ("k", ["option-specialised"])]
)
def test_window_of_another_size_may_leave_a_rest(rest: str, expected: list[str]) -> None:
    report = gl.check(means_of_windows(rest), normal(3, 8), 2, probes=("options",))
    assert [f.cause for f in report.findings if f.severity == "error"] == expected, report


@pytest.mark.parametrize("whole", [True, False])
def test_array_that_is_short_of_what_no_window_covers_is_an_error_where_nothing_raises(whole: bool) -> None:
    class Windows:
        def __init__(self, size: int = 3) -> None:
            self.size = size

        def forward(self, x: Any) -> Any:
            self.shape = x.shape
            count = x.shape[1] // self.size
            return x[:, : count * self.size].reshape(len(x), count, self.size).sum(-1)

        def backward(self, dout: Any) -> Any:
            dx = np.zeros(self.shape if whole else (len(dout), dout.shape[1] * self.size))
            dx[:, : dout.shape[1] * self.size] = np.repeat(dout, self.size, axis=1)
            return dx

    report = gl.check(Windows(), normal(4, 9).numpy(), probes=("sizes",))
    errors = [f.cause for f in report.findings if f.severity == "error"]
    assert errors == ([] if whole else ["size-specialised"]), report


def test_array_of_another_shape_at_a_rank_that_nobody_gave_is_a_note() -> None:
    class Scale:
        def __init__(self) -> None:
            self.factor, self.dfactor = np.array([1.0, 2.0, 3.0]), None

        def forward(self, x: Any) -> Any:
            self.x = x
            return x * self.factor

        def backward(self, dout: Any) -> Any:
            self.dfactor = (dout * self.x).sum(0)
            return dout * self.factor

    report = gl.check(Scale(), normal(2, 3).numpy())
    assert report.verdict == "pass", report
    assert gl.check(Scale(), normal(4, 3).numpy(), probes=("sizes",)).verdict == "pass"  # a row alone too
    assert [f.severity for f in report.findings if f.cause == "missing-broadcast-sum"] == ["note"]
