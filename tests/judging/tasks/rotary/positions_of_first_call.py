import torch


class RotaryCache:
    def __init__(self):
        self.cos = self.sin = None

    def _tables(self, x, base):
        t, half = x.shape[1], x.shape[-1] // 2
        if self.cos is None or self.cos.shape[0] < t or self.cos.shape[1] < half:
            freq = base ** (-torch.arange(half, dtype=torch.float64) / max(half, 1))
            ang = torch.arange(t, dtype=torch.float64)[:, None] * freq
            self.cos, self.sin = ang.cos(), ang.sin()
        return self.cos[:t, :half].to(x.dtype), self.sin[:t, :half].to(x.dtype)

    def forward(self, x, base=100.0):
        self.c, self.s = self._tables(x, base)
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.c - b * self.s, a * self.s + b * self.c], -1)

    def backward(self, g):
        a, b = g.chunk(2, -1)
        return torch.cat([a * self.c + b * self.s, b * self.c - a * self.s], -1)


candidate = RotaryCache()
