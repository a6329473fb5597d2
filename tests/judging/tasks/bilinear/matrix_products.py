import torch


def forward(x, weight, y):
    columns = [((x @ w) * y).sum(1) for w in weight]
    return torch.stack(columns, 1) if columns else x.new_zeros(x.shape[0], 0)


def backward(grad_output, output, x, weight, y):
    dx, dy, dw = torch.zeros_like(x), torch.zeros_like(y), torch.zeros_like(weight)
    for o, w in enumerate(weight):
        g = grad_output[:, o:o + 1]
        dx += g * (y @ w.T)
        dy += g * (x @ w)
        dw[o] = (g * x).T @ y
    return dx, dw, dy


candidate = (forward, backward)
