"""One step of a gated recurrent unit whose pre-activations are given: update gate, reset gate, candidate parts, state."""

import torch

from gradcheck_lab.specs import real

specs = (real("n h"), real("n h"), real("n h"), real("n h"), real("n h"))
forbidden = ("aten.gru_cell", "aten.gru", "aten._thnn_fused_gru_cell", "aten._thnn_fused_gru_cell_backward")


def reference(update, reset, from_input, from_state, state):
    z, r = torch.sigmoid(update), torch.sigmoid(reset)
    new = torch.tanh(from_input + r * from_state)
    return (1 - z) * new + z * state
