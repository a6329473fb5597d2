"""One-dimensional convolution with a kernel of three, padded by one on either side."""

import torch

from gradcheck_lab.specs import real

specs = (real("n c l"), real("o c 3"), real("o"))
forbidden = (
    "aten.conv1d", "aten.conv2d", "aten.convolution", "aten._convolution", "aten.convolution_backward", "aten.conv_transpose1d",
    "aten.mkldnn_convolution", "aten._slow_conv2d_forward", "aten._slow_conv2d_backward", "aten.thnn_conv2d",
)


def reference(x, weight, bias):
    padded = torch.nn.functional.pad(x, (1, 1))
    length = x.shape[-1]
    taps = [torch.einsum("ncl,oc->nol", padded[..., k : k + length], weight[..., k]) for k in range(3)]
    return taps[0] + taps[1] + taps[2] + bias[:, None]
