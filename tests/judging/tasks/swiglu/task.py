"""SwiGLU without its matrices: silu(gate) times up."""

import torch

from gradcheck_lab.specs import real

specs = (real("n d"), real("n d"))
forbidden = ("aten.silu", "aten.silu_", "aten.silu_backward")


def reference(gate, up):
    return gate * torch.sigmoid(gate) * up
