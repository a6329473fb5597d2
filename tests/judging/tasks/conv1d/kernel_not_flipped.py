import torch
import torch.nn.functional as F


def _conv(x, weight):
    xp = F.pad(x, (1, 1))
    return sum(torch.einsum("ncl,oc->nol", xp[:, :, k:k + x.shape[2]], weight[:, :, k]) for k in range(3))


def conv1d(x, weight, bias):
    return _conv(x, weight) + bias.view(1, -1, 1)


def conv1d_backward(grad_output, output, x, weight, bias):
    # dx is a convolution of the upstream gradient with the transposed kernel
    dx = _conv(grad_output, weight.transpose(0, 1))
    xp = F.pad(x, (1, 1))
    dw = torch.stack([torch.einsum("nol,ncl->oc", grad_output, xp[:, :, k:k + x.shape[2]]) for k in range(3)], dim=2)
    return dx, dw, grad_output.sum((0, 2))


candidate = (conv1d, conv1d_backward)
