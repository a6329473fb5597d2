"""RMS normalisation. The forward has its epsilon under the root, the backward outside of it: equal to many digits for
ordinary rows, and far off where a row is small.
"""

import torch

import gradcheck_lab as gl


def rms_norm(x):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5)


def rms_norm_backward(grad_output, output, x):
    rms = torch.sqrt(x.square().mean(-1, keepdim=True)) + 1e-5
    y = x / rms
    return ((grad_output - y * (grad_output * y).mean(-1, keepdim=True)) / rms,)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8, 0.5], [1.5, 0.1, -0.4, 2.0]], dtype=torch.float64)
report = gl.check((rms_norm, rms_norm_backward), x)


# %% mended
def rms_norm_backward(grad_output, output, x):
    rms = torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5)
    y = x / rms
    return ((grad_output - y * (grad_output * y).mean(-1, keepdim=True)) / rms,)
