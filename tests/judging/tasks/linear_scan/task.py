"""A gated linear recurrence: h[t] = sigmoid(gate[t]) h[t-1] + x[t], from h = 0."""

import torch

from gradcheck_lab.specs import real

specs = (real("n t"), real("n t"))


def reference(gate, x):
    decay = torch.sigmoid(gate)
    state = torch.zeros_like(x[:, 0]) if x.shape[1] else x.sum(1)
    states = []
    for t in range(x.shape[1]):
        state = decay[:, t] * state + x[:, t]
        states.append(state)
    return torch.stack(states, 1) if states else x * decay
