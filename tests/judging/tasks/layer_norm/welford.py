import torch

BLOCK = 64


def _welford(x):
    """Blocked Welford: merges (count, mean, M2) over column blocks."""
    n = x.shape[-1]
    mean = x.new_zeros(*x.shape[:-1], 1)
    m2 = x.new_zeros(*x.shape[:-1], 1)
    count = 0
    for start in range(0, n, BLOCK):
        block = x[..., start:start + BLOCK]
        k = block.shape[-1]
        bmean = block.mean(-1, keepdim=True)
        bm2 = (block - bmean).square().sum(-1, keepdim=True)
        delta = bmean - mean
        total = count + k
        mean = mean + delta * (k / total)
        m2 = m2 + bm2 + delta.square() * (count * k / total)
        count = total
    return mean, m2 / max(count, 1)


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps=1e-5):
        mean, var = _welford(x)
        rstd = torch.rsqrt(var + eps)
        xhat = (x - mean) * rstd
        ctx.save_for_backward(xhat, rstd, weight)
        return torch.addcmul(bias, xhat, weight)

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, weight = ctx.saved_tensors
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            wdy = weight * dy
            c1 = (xhat * wdy).mean(-1, keepdim=True)
            c2 = wdy.mean(-1, keepdim=True)
            dx = (wdy - (xhat * c1 + c2)) * rstd
        if ctx.needs_input_grad[1]:
            dweight = (dy * xhat).sum(0)
        if ctx.needs_input_grad[2]:
            dbias = dy.sum(0)
        return dx, dweight, dbias, None


candidate = LayerNorm
