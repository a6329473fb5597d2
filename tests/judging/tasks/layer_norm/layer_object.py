import torch


class LayerNorm:
    """Caches what backward needs on the instance, one forward then one backward."""

    def forward(self, x, weight, bias, eps=1e-5):
        self.N = x.shape[-1]
        mu = x.sum(dim=-1, keepdim=True) / self.N
        self.xc = x - mu
        self.std = torch.sqrt((self.xc * self.xc).sum(dim=-1, keepdim=True) / self.N + eps)
        self.weight = weight
        self.xhat = self.xc / self.std
        return self.xhat * weight + bias

    def backward(self, dout):
        dbeta = dout.sum(dim=0)
        dgamma = (dout * self.xhat).sum(dim=0)
        g = dout * self.weight
        gs = g.sum(dim=-1, keepdim=True)
        gx = (g * self.xhat).sum(dim=-1, keepdim=True)
        dx = (g - gs / self.N - self.xhat * gx / self.N) / self.std
        return dx, dgamma, dbeta


candidate = LayerNorm()
