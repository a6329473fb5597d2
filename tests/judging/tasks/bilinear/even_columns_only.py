import torch


def forward(x, weight, y):
    return torch.einsum("ni,oij,nj->no", x, weight, y)


def backward(grad_output, output, x, weight, y):
    vectors = y.shape[1] // 2 * 2 if y.shape[1] > 4 else y.shape[1]
    dx = torch.einsum("no,oij,nj->ni", grad_output, weight[:, :, :vectors], y[:, :vectors])
    dw = torch.einsum("no,ni,nj->oij", grad_output, x, y)
    return dx, dw, torch.einsum("no,oij,ni->nj", grad_output, weight, x)


candidate = (forward, backward)
