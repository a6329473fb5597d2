import torch


def _run(gate, x):
    a = torch.sigmoid(gate)
    h, out = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = a[:, t] * h + x[:, t]
        out.append(h)
    return torch.stack(out, 1)


def forward(gate, x):
    return _run(gate, x)


def backward(grad_output, output, gate, x):
    eps = 1e-3
    dg, dx = torch.zeros_like(gate), torch.zeros_like(x)
    for t in range(x.shape[1]):
        bump = torch.zeros_like(x)
        bump[:, t] = eps
        dg[:, t] = ((_run(gate + bump, x) - output) * grad_output).sum(1) / eps
        dx[:, t] = ((_run(gate, x + bump) - output) * grad_output).sum(1) / eps
    return dg, dx


candidate = (forward, backward)
