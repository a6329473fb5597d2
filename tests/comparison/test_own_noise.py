"""A backward whose terms cancel is judged by the rounding that it shows beside its call, and a mistake as small is found."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import Function

import gradcheck_lab as gl

DTYPES = [torch.float32, torch.float64]


def share(mistake: float = 0.0) -> Any:
    """x / x.sum(-1), whose gradient for a single column is zero but for rounding; the backward is off by `mistake`."""

    class Share(Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            a = x.detach().numpy()
            return torch.from_numpy(a / a.sum(-1, keepdims=True))

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            s = x.sum(-1, keepdim=True)
            return g / s - (g * x).sum(-1, keepdim=True) / s**2 + mistake * g

    return Share


def column(rows: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return (torch.rand(rows, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 4, 40, 300])
def test_terms_that_cancel_are_no_mistake(rows: int, dtype: torch.dtype) -> None:
    for seed in range(3):
        report = gl.check(share(), column(rows, dtype, seed), probes=())
        assert report.verdict == "pass", report


@pytest.mark.parametrize(("dtype", "mistake"), [(torch.float32, 2e-6), (torch.float64, 3e-14)])
@pytest.mark.parametrize("rows", [4, 40])
def test_mistake_little_larger_than_rounding_is_found_where_terms_cancel(rows: int, dtype: torch.dtype, mistake: float) -> None:
    for seed in range(3):
        report = gl.check(share(mistake), column(rows, dtype, seed), probes=())
        assert report.verdict == "fail", report


def test_attention_of_equal_rows_in_numpy_passes() -> None:
    class Attention:
        def forward(self, q: Any, k: Any) -> Any:
            e = np.exp((s := q @ k.T) - s.max(-1, keepdims=True))
            self.p, self.saved = e / e.sum(-1, keepdims=True), (q, k)
            return self.p

        def backward(self, g: Any) -> Any:
            q, k = self.saved
            ds = self.p * (g - (g * self.p).sum(-1, keepdims=True))
            return ds @ k, ds.T @ q

    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(3, 4)), np.repeat(rng.normal(size=(1, 4)), 3, 0)
    report = gl.check(Attention(), q, k)
    assert report.verdict == "pass", report


class OneKey:
    """Attention to one key, with the row sum of p ∘ dp from the output, as fused kernels have it: two sums of the same terms.

    The weights are 1, so the gradients of q and k are zero but for rounding; the backward is off by `mistake` times them.
    """

    def __init__(self, mistake: float = 0.0) -> None:
        self.mistake = mistake

    def forward(self, q: Any, k: Any, v: Any, w: Any) -> Any:
        s = (q * k).sum(-1, keepdims=True)
        self.saved = q, k, v, w, (p := np.exp(s - s)), p * v
        return self.saved[-1] * w

    def backward(self, g: Any) -> Any:
        q, k, v, w, p, out = self.saved
        g, dw = g * w, g * out
        dp = (g[:, ::-1] * v[:, ::-1]).cumsum(-1)[:, -1:]
        ds = p * (dp - (g * out).sum(-1, keepdims=True)) + self.mistake * np.abs(g).sum(-1, keepdims=True)
        return ds * k, ds * q, p * g, dw


def attend_to_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    s = (q * k).sum(-1, keepdim=True)
    return torch.softmax(s - s.amax(-1, keepdim=True), -1) * v * w


def of_one_key(rows: int, width: int, dtype: torch.dtype, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(rows, width))).to(dtype).numpy() for _ in range(4)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 9), (2, 33)])
def test_rounding_that_leaves_the_same_step_in_many_samples_is_no_mistake(shape: tuple[int, int], dtype: torch.dtype) -> None:
    for seed in range(20):
        given = of_one_key(*shape, dtype, seed)
        report = gl.check(OneKey(), *given, reference=attend_to_one, seed=seed, probes=())
        assert report.verdict == "pass", report


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 9), (2, 33)])
def test_mistake_beside_rounding_that_comes_in_steps_is_found(shape: tuple[int, int], dtype: torch.dtype) -> None:
    for seed in range(5):
        given = of_one_key(*shape, dtype, seed)
        mistaken = OneKey(200 * torch.finfo(dtype).eps)
        report = gl.check(mistaken, *given, reference=attend_to_one, seed=seed, probes=())
        assert report.verdict == "fail", report


def test_gradient_that_is_rough_is_no_rounding_where_it_is_off_by_more() -> None:
    """A factor that hangs on the last digits of its input changes as rounding does, and float64 rounds far finer."""

    def rough(x: torch.Tensor) -> torch.Tensor:
        return ((x.view(torch.int64) * 2654435761) % 1000 / 1000 - 0.5).double()

    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return g * 3 * x**2 * (1 + 1e-6 * rough(x))

    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    report = gl.check(Cube, x, probes=())
    assert report.verdict == "fail", report
