import torch


def forward(gate, up):
    s = torch.sigmoid(gate)
    with torch.no_grad():
        return gate.detach().mul_(s).mul_(up)


def backward(grad_output, output, gate, up):
    s = torch.sigmoid(gate)
    return grad_output * up * (s + gate * s * (1 - s)), grad_output * gate * s


candidate = (forward, backward)
