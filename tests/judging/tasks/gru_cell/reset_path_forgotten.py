import torch


def _gates(update, reset, from_input, from_state):
    z, r = torch.sigmoid(update), torch.sigmoid(reset)
    return z, r, torch.tanh(from_input + r * from_state)


def forward(update, reset, from_input, from_state, state):
    z, r, n = _gates(update, reset, from_input, from_state)
    return (1 - z) * n + z * state


def backward(grad_output, output, update, reset, from_input, from_state, state):
    z, r, n = _gates(update, reset, from_input, from_state)
    dn = grad_output * (1 - z) * (1 - n ** 2)
    dz = grad_output * (state - n) * z * (1 - z)
    return dz, torch.zeros_like(reset), dn, dn * r, grad_output * z


candidate = (forward, backward)
