"""A linear layer: x Wᵀ + b."""

from gradcheck_lab.specs import real

specs = (real("n i"), real("o i"), real("o"))
forbidden = ("aten.linear", "aten.linear_backward", "aten.mkldnn_linear")


def reference(x, weight, bias):
    return (x[:, None, :] * weight).sum(-1) + bias
