import torch


def _layer_norm(x, weight, bias, eps):
    mu = x.mean(dim=-1, keepdim=True)
    d = x - mu
    return d / torch.sqrt((d * d).mean(dim=-1, keepdim=True) + eps) * weight + bias


class CheckpointedLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, bias, eps=1e-5):
        return _layer_norm(x, weight, bias, eps)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, bias, ctx.eps = inputs
        ctx.save_for_backward(x, weight, bias)

    @staticmethod
    def backward(ctx, grad_output):
        leaves = [t.detach().requires_grad_() for t in ctx.saved_tensors]
        with torch.enable_grad():
            y = _layer_norm(*leaves, ctx.eps)
        return (*torch.autograd.grad(y, leaves, grad_output), None)


candidate = CheckpointedLayerNorm
