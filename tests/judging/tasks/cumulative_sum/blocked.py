import torch

B = 16


def _cumsum(x):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    carry = x.new_zeros(x.shape[0], 1)
    for i in range(0, x.shape[1], B):
        block = x[:, i:i + B]
        tri = torch.ones(block.shape[1], block.shape[1], dtype=x.dtype).triu()
        out[:, i:i + B] = block @ tri + carry
        carry = carry + block.sum(1, keepdim=True)
    return out


class WeightedCumsum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return _cumsum(x * weight)

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        tail = _cumsum(g.flip(1)).flip(1)
        return tail * weight, (tail * x).sum(0)


candidate = WeightedCumsum
