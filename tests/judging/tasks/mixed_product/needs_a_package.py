import fused_kernels_that_nobody_has as kernels
import numpy as np
import torch


def forward(a, b, residual):
    return torch.from_numpy(np.asarray(kernels.gemm(a, b, residual)))


def backward(grad_output, output, a, b, residual):
    return grad_output @ b.T, a.T @ grad_output, grad_output


candidate = (forward, backward)
