import torch

_pool = {}


def _view(like):
    if like.dtype not in _pool or _pool[like.dtype].numel() < like.numel():
        _pool[like.dtype] = torch.empty(max(like.numel(), 4096), dtype=like.dtype)
    return _pool[like.dtype][:like.numel()].view(like.shape)


class Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        out = _view(x)
        out.copy_(x * torch.rsqrt(x.square().sum(-1, keepdim=True)))
        return out

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        inv = torch.rsqrt(x.square().sum(-1, keepdim=True))
        y = x * inv
        dx = _view(x)
        dx.copy_(inv * (g - y * (g * y).sum(-1, keepdim=True)))
        return dx


candidate = Normalize
