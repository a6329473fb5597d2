import torch


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return gate * torch.sigmoid(gate) * up

    @staticmethod
    def backward(ctx, dout):
        gate, up = ctx.saved_tensors
        sig = torch.sigmoid(gate)
        silu = gate * sig
        # d silu / d gate = sig + silu * (1 - sig), with 1 - sigmoid(z) = sigmoid(-z)
        dgate = dout * up * (sig + silu * torch.sigmoid(-gate))
        dup = dout * silu
        return dgate, dup


candidate = SwiGLU
