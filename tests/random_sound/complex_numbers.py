"""Sound backwards over complex numbers, in torch's convention: the gradient is conjugated."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import COMPLEX, Draw
from tests.random_sound.forms import Rule, sound, sum_to


@sound(dtypes=COMPLEX)
def complex_product(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return sum_to(g * b.conj(), a.shape), sum_to((g.conj() * a).conj(), b.shape)

    shape = draw.shape()
    return Rule(forward, backward, (draw.real(*draw.broadcast(shape)), draw.real(*draw.broadcast(shape))))


@sound(dtypes=COMPLEX)
def complex_matrix_product(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return g @ b.mH, (g.mH @ a).mH

    m, k, n = (draw.size(1, 4) for _ in range(3))
    return Rule(forward, backward, (draw.real(m, k), draw.real(k, n)))


@sound(dtypes=COMPLEX)
def modulus(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.abs()

    def guarded(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.where(y == 0, 0, g * x / torch.where(y == 0, 1, y)),)

    def by_sign(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * x.sgn(),)

    return Rule(forward, draw.alternatives(guarded, by_sign), (draw.real(*draw.shape()),))


@sound(dtypes=COMPLEX)
def power_spectrum(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.real**2 + x.imag**2

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (2 * g * x,)

    return Rule(forward, backward, (draw.real(*draw.shape()),))


@sound(dtypes=COMPLEX)
def real_part(draw: Draw) -> Rule:
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return (x * w).real

    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        return g * w.conj(), g * x.conj()

    shape = draw.shape(1)
    return Rule(forward, backward, (draw.real(*shape), draw.real(*shape)))


@sound(dtypes=COMPLEX)
def fourier(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=-1)

    def by_inverse(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.fft.ifft(g, dim=-1) * g.shape[-1],)

    def by_conjugates(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.fft.fft(g.conj(), dim=-1).conj(),)

    return Rule(forward, draw.alternatives(by_inverse, by_conjugates), (draw.real(*draw.shape(1, 2, smallest=1)),))


@sound(dtypes=COMPLEX)
def complex_exponential(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.exp(x * 0.1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (0.1 * g * y.conj(),)

    return Rule(forward, backward, (draw.real(*draw.shape()),))


@sound(dtypes=COMPLEX)
def complex_rotation(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.view_as_real(x * 1j).flatten(-2)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.view_as_complex(g.unflatten(-1, (-1, 2)).contiguous()) * -1j,)

    return Rule(forward, backward, (draw.real(*draw.shape(1, smallest=1)),))
