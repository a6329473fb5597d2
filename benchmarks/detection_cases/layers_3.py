"""Wrong and sound backwards of recurrent layers: steps and sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.mistakes.registry import Table, array

table = Table()


def sigmoid(z: Any) -> Any:
    """Right for large values of both signs."""
    return 0.5 * (1 + np.tanh(0.5 * z))


@table(
    "output-gradient-dropped",
    "cell-state-of-a-long-memory",
    *(array(3, 4, 5), array(3, 2, seed=1), array(3, 2, seed=2), array(5, 8, seed=3), array(2, 8, seed=4), array(8, seed=5)),
)
def lstm(wrong: bool) -> Any:
    """As reported for Deeplearning4j: the gradient of the last cell state, a second output, is not taken in."""

    def lstm_forward(x: Any, h0: Any, c0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
        assert x.ndim == 3
        assert len(x) == len(h0) == len(c0)
        h, c, H, hs, cache = h0, c0, h0.shape[1], [], []
        for t in range(x.shape[1]):
            a = x[:, t] @ Wx + h @ Wh + b
            i, f, o, g = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H]), np.tanh(a[:, 3 * H :])
            prev_h, prev_c = h, c
            c = f * c + i * g
            h = o * np.tanh(c)
            hs.append(h)
            cache.append((x[:, t], prev_h, prev_c, i, f, o, g, c))
        return np.stack(hs, axis=1), c, (cache, Wx, Wh, x.shape)

    def lstm_backward(dh: Any, dc_last: Any, caches: Any) -> Any:
        cache, Wx, Wh, shape = caches
        dx, dWx, dWh, db = np.zeros(shape, dtype=dh.dtype), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(Wx[0])
        dprev_h = np.zeros_like(dc_last)
        dprev_c = np.zeros_like(dc_last) if wrong else dc_last
        for t in reversed(range(shape[1])):
            xt, prev_h, prev_c, i, f, o, g, c = cache[t]
            dnext_h, tc = dh[:, t] + dprev_h, np.tanh(c)
            dc = dprev_c + dnext_h * o * (1 - tc**2)
            gates = [dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * tc * o * (1 - o), dc * i * (1 - g**2)]
            da = np.hstack(gates)
            dx[:, t], dprev_h, dprev_c = da @ Wx.T, da @ Wh.T, dc * f
            dWx += xt.T @ da
            dWh += prev_h.T @ da
            db += da.sum(axis=0)
        return dx, dprev_h, dprev_c, dWx, dWh, db

    return lstm_forward, lstm_backward


def rnn_forward(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """The plain recurrent sequence of the course."""
    assert x.ndim == 3
    assert len(x) == len(h0)
    h, hs = h0, []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ Wx + h @ Wh + b)
        hs.append(h)
    out = np.stack(hs, axis=1)
    return out, (x, h0, Wx, Wh, out)


SEQUENCE = (array(3, 5, 4), array(3, 2, seed=1), array(4, 2, seed=2), array(2, 2, seed=3), array(2, seed=4))


@table("unwritten-elements|wrong-value", "recurrent-sequence-without-its-first-step", *SEQUENCE)
def first_step(wrong: bool) -> Any:
    """The loop back ends one step early: nothing reaches the first input."""

    def rnn_backward(dh: Any, cache: Any) -> Any:
        x, h0, Wx, Wh, h = cache
        dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(Wx[0])
        dprev = np.zeros_like(h0)
        for t in range(x.shape[1] - 1, 0 if wrong else -1, -1):
            da = (dh[:, t] + dprev) * (1 - h[:, t] ** 2)
            dx[:, t], dprev = da @ Wx.T, da @ Wh.T
            dWx += x[:, t].T @ da
            dWh += (h[:, t - 1] if t else h0).T @ da
            db += da.sum(axis=0)
        return dx, dprev, dWx, dWh, db

    return rnn_forward, rnn_backward


@table("value-dependent|missing-term", "recurrent-sequence-that-began-at-zero", SEQUENCE[0], np.zeros((3, 2)), *SEQUENCE[2:])
def first_state(wrong: bool) -> Any:
    """The recurrent weight gets no term from the first state, which was always zeros where it was tried."""

    def rnn_backward(dh: Any, cache: Any) -> Any:
        x, h0, Wx, Wh, h = cache
        before = np.concatenate([np.zeros_like(h0)[:, None] if wrong else h0[:, None], h[:, :-1]], axis=1)
        dprev, da = np.zeros_like(h0), np.zeros_like(h)
        for t in reversed(range(x.shape[1])):
            da[:, t] = (dh[:, t] + dprev) * (1 - h[:, t] ** 2)
            dprev = da[:, t] @ Wh.T
        dWx, dWh = np.einsum("ntd,nth->dh", x, da), np.einsum("nth,ntk->hk", before, da)
        return da @ Wx.T, dprev, dWx, dWh, da.sum(axis=(0, 1))

    return rnn_forward, rnn_backward


@table("not-linear", "recurrent-step-with-clipped-gradients", *(SEQUENCE[0][:, 0], *SEQUENCE[1:]))
def clipped(wrong: bool) -> Any:
    """As in the hundred-line character model: the step's backward clips each gradient to five."""

    def rnn_step_forward(x: Any, prev_h: Any, Wx: Any, Wh: Any, b: Any) -> Any:
        assert x.ndim == 2
        assert len(x) == len(prev_h)
        next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
        return next_h, (x, prev_h, Wx, Wh, next_h)

    def rnn_step_backward(dnext_h: Any, cache: Any) -> Any:
        x, prev_h, Wx, Wh, next_h = cache
        draw = dnext_h * (1 - next_h**2)
        grads = [draw @ Wx.T, draw @ Wh.T, x.T @ draw, prev_h.T @ draw, draw.sum(axis=0)]
        if wrong:
            for grad in grads:
                np.clip(grad, -5, 5, out=grad)
        return tuple(grads)

    return rnn_step_forward, rnn_step_backward


GRU = (array(3, 4), array(3, 2, seed=1), array(4, 6, seed=2), array(2, 6, seed=3), array(6, seed=4))


def gru_forward(x: Any, h: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """One step: reset and update gates, then the candidate."""
    assert x.ndim == 2
    assert len(x) == len(h)
    H = h.shape[1]
    ax, ah = x @ Wx + b, h @ Wh
    r, z = sigmoid(ax[:, :H] + ah[:, :H]), sigmoid(ax[:, H : 2 * H] + ah[:, H : 2 * H])
    n = np.tanh(ax[:, 2 * H :] + r * ah[:, 2 * H :])
    return (1 - z) * n + z * h, (x, h, Wx, Wh, r, z, n, ah[:, 2 * H :])


def gru_gradients(cache: Any, dr: Any, dz: Any, dn: Any, dh: Any) -> Any:
    """From the gradients in front of the gates to those of inputs and weights."""
    x, h, Wx, Wh, r, _, _, _ = cache
    da, dah = np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r])
    return da @ Wx.T, dh + dah @ Wh.T, x.T @ da, h.T @ dah, da.sum(axis=0)


@table("wrong-operand", "gated-unit-with-the-other-gate", *GRU)
def gru_gate(wrong: bool) -> Any:
    """The update gate's slope is taken at the reset gate."""

    def gru_backward(dout: Any, cache: Any) -> Any:
        _, h, _, _, r, z, n, candidate = cache
        dn = dout * (1 - z) * (1 - n**2)
        slope = r * (1 - r) if wrong else z * (1 - z)
        return gru_gradients(cache, dn * candidate * r * (1 - r), dout * (h - n) * slope, dn, dout * z)

    return gru_forward, gru_backward


@table("missing-term|wrong-value", "gated-unit-without-its-carry", *GRU)
def gru_carry(wrong: bool) -> Any:
    """The old state's own share of the new one, z times h, sends nothing back."""

    def gru_backward(dout: Any, cache: Any) -> Any:
        _, h, _, _, r, z, n, candidate = cache
        dn = dout * (1 - z) * (1 - n**2)
        carry = np.zeros_like(dout) if wrong else dout * z
        return gru_gradients(cache, dn * candidate * r * (1 - r), dout * (h - n) * z * (1 - z), dn, carry)

    return gru_forward, gru_backward


@table("wrong-operand|slots-swapped", "memory-cell-with-three-biases", array(3, 4), array(3, 2, seed=1))
def three_biases(wrong: bool) -> Any:
    """As reported for a textbook's lstm.py: input and output gates' biases get the forget gate's gradient."""

    class Cell:
        def __init__(self) -> None:
            self.params = {name: array(4, 2, seed=k) for k, name in enumerate(["Wi", "Wf", "Wo"], 3)}
            self.params |= {name: array(2, seed=k) for k, name in enumerate(["bi", "bf", "bo"], 7)}
            self.grads: dict[str, Any] = {}

        def forward(self, x: Any, c: Any) -> Any:
            assert x.ndim == 2
            assert len(x) == len(c)
            p, self.x, self.c = self.params, x, c
            self.i, self.f, self.o = (sigmoid(x @ p["W" + k] + p["b" + k]) for k in "ifo")
            self.tc = np.tanh(self.f * c + self.i)
            return self.o * self.tc

        def backward(self, dout: Any) -> Any:
            dc = dout * self.o * (1 - self.tc**2)
            delta = {
                "i": dc * self.i * (1 - self.i),
                "f": dc * self.c * self.f * (1 - self.f),
                "o": dout * self.tc * self.o * (1 - self.o),
            }
            dx = 0
            for k, d in delta.items():
                self.grads["W" + k] = self.x.T @ d
                self.grads["b" + k] = (delta["f"] if wrong else d).sum(axis=0)
                dx = dx + d @ self.params["W" + k].T
            return dx, dc * self.f

    return Cell()


@table("fan-out-overwritten|wrong-value", "sequence-layer-that-shares-its-weights", array(3, 5, 4))
def time_rnn(wrong: bool) -> Any:
    """All steps share the weights, and each step's gradient replaces that of the step before."""

    class TimeRNN:
        def __init__(self) -> None:
            self.Wx, self.Wh, self.b = array(4, 2, seed=1), array(2, 2, seed=2), array(2, seed=3)
            self.dWx = self.dWh = self.db = None

        def forward(self, xs: Any) -> Any:
            h, self.steps, hs = np.zeros((xs.shape[0], 2)), [], []
            for t in range(xs.shape[1]):
                prev, h = h, np.tanh(xs[:, t] @ self.Wx + h @ self.Wh + self.b)
                self.steps.append((xs[:, t], prev, h))
                hs.append(h)
            return np.stack(hs, axis=1)

        def backward(self, dhs: Any) -> Any:
            self.dWx, self.dWh, self.db = np.zeros_like(self.Wx), np.zeros_like(self.Wh), np.zeros_like(self.b)
            dxs, dh = [], 0
            for t in reversed(range(dhs.shape[1])):
                x, prev, h = self.steps[t]
                dt = (dhs[:, t] + dh) * (1 - h**2)
                if wrong:
                    self.dWx, self.dWh, self.db = x.T @ dt, prev.T @ dt, dt.sum(axis=0)
                else:
                    self.dWx, self.dWh, self.db = self.dWx + x.T @ dt, self.dWh + prev.T @ dt, self.db + dt.sum(axis=0)
                dh = dt @ self.Wh.T
                dxs.insert(0, dt @ self.Wx.T)
            return np.stack(dxs, axis=1)

    return TimeRNN()


@table("stale-state", "sequence-layer-that-keeps-its-steps", array(3, 4, 2))
def kept_steps(wrong: bool) -> Any:
    """The list of steps is made once: a second call appends, and its backward reads the first call's steps."""

    class Recurrence:
        def __init__(self) -> None:
            self.W, self.steps = array(2, 2, seed=1), []

        def forward(self, x: Any) -> Any:
            if not wrong:
                self.steps = []
            h, self.length = np.zeros_like(x[:, 0]), x.shape[1]
            for t in range(self.length):
                prev, h = h, np.tanh(x[:, t] + h @ self.W)
                self.steps.append((prev, h))
            return h

        def backward(self, dh: Any) -> Any:
            self.dW, dx = np.zeros_like(self.W), []
            for t in reversed(range(self.length)):
                prev, h = self.steps[t]
                da = dh * (1 - h**2)
                self.dW += prev.T @ da
                dh = da @ self.W.T
                dx.insert(0, da)
            return np.stack(dx, axis=1)

    return Recurrence()


@table("wrong-value|permuted", "two-ways-through-a-sequence", array(2, 5, 3))
def two_ways(wrong: bool) -> Any:
    """The gradient of the layer that reads backwards is not turned round again before the sum."""

    class Decay:
        def __init__(self, seed: int) -> None:
            self.W = array(3, 3, seed=seed)

        def forward(self, x: Any) -> Any:
            h, hs = np.zeros_like(x[:, 0]), []
            for t in range(x.shape[1]):
                h = np.tanh(x[:, t] @ self.W + 0.5 * h)
                hs.append(h)
            self.x, self.hs = x, np.stack(hs, axis=1)
            return self.hs

        def backward(self, dhs: Any) -> Any:
            da, dh = np.zeros_like(self.hs), 0
            for t in reversed(range(dhs.shape[1])):
                da[:, t] = (dhs[:, t] + dh) * (1 - self.hs[:, t] ** 2)
                dh = 0.5 * da[:, t]
            self.dW = np.einsum("ntd,nth->dh", self.x, da)
            return da @ self.W.T

    class TimeBidirectional:
        def __init__(self) -> None:
            self.forward_layer, self.backward_layer = Decay(1), Decay(2)

        def forward(self, xs: Any) -> Any:
            o1 = self.forward_layer.forward(xs)
            o2 = self.backward_layer.forward(xs[:, ::-1])[:, ::-1]
            return np.concatenate((o1, o2), axis=2)

        def backward(self, dhs: Any) -> Any:
            H = dhs.shape[2] // 2
            dx1 = self.forward_layer.backward(dhs[:, :, :H])
            dx2 = self.backward_layer.backward(dhs[:, ::-1, H:])
            return dx1 + (dx2 if wrong else dx2[:, ::-1])

    return TimeBidirectional()


ROWS = tuple(table.rows)
