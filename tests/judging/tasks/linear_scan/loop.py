import torch


class GatedScan(torch.autograd.Function):
    """h_t = a_t * h_{t-1} + x_t with a_t = sigmoid(gate_t)."""

    @staticmethod
    def forward(ctx, gate, x):
        a = torch.sigmoid(gate)
        h = torch.empty_like(x)
        carry = torch.zeros_like(x[:, 0]) if x.size(1) else None
        for t in range(x.size(1)):
            carry = a[:, t] * carry + x[:, t]
            h[:, t] = carry
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, grad_h):
        a, h = ctx.saved_tensors
        T = h.size(1)
        grad_x = torch.empty_like(h)
        grad_a = torch.zeros_like(h)
        carry = torch.zeros_like(h[:, 0]) if T else None
        for t in reversed(range(T)):
            carry = carry + grad_h[:, t]
            grad_x[:, t] = carry
            if t > 0:
                grad_a[:, t] = carry * h[:, t - 1]
            carry = carry * a[:, t]
        return grad_a * a * (1 - a), grad_x


candidate = GatedScan
