import torch


class GRUStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, update, reset, from_input, from_state, state):
        z, r = update.sigmoid(), reset.sigmoid()
        n = torch.tanh(torch.addcmul(from_input, r, from_state))
        ctx.save_for_backward(update, reset, r, n, from_state, state)
        return torch.lerp(n, state, z)

    @staticmethod
    def backward(ctx, g):
        update, reset, r, n, from_state, state = ctx.saved_tensors
        z, omz = torch.sigmoid(update), torch.sigmoid(-update)
        d_state = g * z
        d_pre = g * omz * (1 - n) * (1 + n)
        d_update = g * (state - n) * z * omz
        d_from_state = d_pre * r
        d_reset = d_pre * from_state * r * torch.sigmoid(-reset)
        return d_update, d_reset, d_pre, d_from_state, d_state


candidate = GRUStep
