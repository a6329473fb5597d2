import torch

_scratch = {}


def _workspace(x):
    """Scratch that is never returned."""
    key = (x.dtype, tuple(x.shape))
    if key not in _scratch:
        print(f"[rmsnorm] allocating workspace {key}")
        _scratch[key] = torch.empty(x.shape, dtype=x.dtype)
    return _scratch[key]


class LlamaRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_states, weight, eps=1e-5):
        input_dtype = hidden_states.dtype
        h = hidden_states.float() if input_dtype in (torch.float16, torch.bfloat16) else hidden_states
        tmp = torch.mul(h, h, out=_workspace(h))
        rstd = torch.rsqrt(tmp.mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(h, weight, rstd)
        ctx.input_dtype = input_dtype
        return (h * rstd).to(input_dtype) * weight

    @staticmethod
    def backward(ctx, dy):
        h, weight, rstd = ctx.saved_tensors
        dy = dy.to(h.dtype)
        m = dy * weight
        inner = torch.mul(m, h, out=_workspace(h)).sum(-1, keepdim=True)
        dx = rstd * m - (rstd * rstd * rstd / h.shape[-1]) * inner * h
        return dx.to(ctx.input_dtype), (dy * h * rstd).sum(dim=0).to(weight.dtype), None


candidate = LlamaRMSNorm
