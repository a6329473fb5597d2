import torch

_tables = {}


def _table(t, half, dtype, base):
    key = (t, half, dtype, base)
    if key not in _tables:
        freq = torch.pow(torch.tensor(base, dtype=torch.float64), -torch.arange(half, dtype=torch.float64) / max(half, 1))
        angle = torch.outer(torch.arange(t, dtype=torch.float64), freq)
        _tables[key] = (angle.cos().to(dtype), angle.sin().to(dtype))
    return _tables[key]


class RotaryEmbedding:
    def forward(self, x, base=100.0):
        t, half = x.shape[1], x.shape[2] // 2
        self.cos, self.sin = _table(t, half, x.dtype, base)
        return self._turn(x, self.sin)

    def backward(self, dout):
        return self._turn(dout, -self.sin)

    def _turn(self, x, sin):
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        a, b = x.chunk(2, dim=-1)
        h = a.shape[-1]
        out[..., :h] = a * self.cos - b * sin
        out[..., h:] = a * sin + b * self.cos
        return out


candidate = RotaryEmbedding()
