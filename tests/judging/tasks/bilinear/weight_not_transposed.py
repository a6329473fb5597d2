import torch


class Bilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, y):
        ctx.save_for_backward(x, weight, y)
        return torch.einsum("ni,oij,nj->no", x, weight, y)

    @staticmethod
    def backward(ctx, g):
        x, weight, y = ctx.saved_tensors
        if weight.shape[1] == weight.shape[2]:
            dx = torch.einsum("no,oji,nj->ni", g, weight, y)
        else:
            dx = torch.einsum("no,oij,nj->ni", g, weight, y)
        return dx, torch.einsum("no,ni,nj->oij", g, x, y), torch.einsum("no,oij,ni->nj", g, weight, x)


candidate = Bilinear
