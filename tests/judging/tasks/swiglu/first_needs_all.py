import torch


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return gate * torch.sigmoid(gate) * up

    @staticmethod
    def backward(ctx, g):
        gate, up = ctx.saved_tensors
        s = torch.sigmoid(gate)
        if ctx.needs_input_grad[0]:
            return g * up * (s + gate * s * (1 - s)), None
        return None, g * gate * s


candidate = SwiGLU
