import torch


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return gate * gate.sigmoid() * up

    @staticmethod
    def backward(ctx, dout):
        gate, up = ctx.saved_tensors
        s = gate.sigmoid()
        d_up = dout * gate * s
        d_gate = dout * up * s * (1 + gate * (1 - s))
        return d_up, d_gate


candidate = SwiGLU
