import torch


class GRUStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, update, reset, from_input, from_state, state):
        z, r = update.sigmoid(), reset.sigmoid()
        n = torch.tanh(from_input + r * from_state)
        ctx.save_for_backward(z, r, n, from_state, state)
        return (1 - z) * n + z * state

    @staticmethod
    def backward(ctx, g):
        z, r, n, from_state, state = ctx.saved_tensors
        d = g * (1 - z) * (1 - n * n)
        return g * (state - n) * z * (1 - z), d * from_state * r * (1 - r), d, d * r


candidate = GRUStep
