import torch


class Conv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        xp = torch.nn.functional.pad(x, (1, 1))
        win = xp.unfold(-1, 3, 1)
        return torch.einsum("nclk,ock->nol", win, weight) + bias[None, :, None]

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        gp = torch.nn.functional.pad(g, (1, 1)).unfold(-1, 3, 1)
        dx = torch.einsum("nolk,ock->ncl", gp, weight.flip(-1))
        if x.shape[-1] >= 3:
            inner = x.unfold(-1, 3, 1)
            dw = torch.einsum("nclk,nol->ock", inner, g[:, :, 1:-1])
        else:
            dw = torch.zeros_like(weight)
        return dx, dw, g.sum(dim=(0, 2))


candidate = Conv1d
