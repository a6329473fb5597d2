import torch


def _tree_scan(a, h):
    """Work-efficient scan over the largest power of two (pad your sequences!)."""
    n = 1
    while n * 2 <= h.shape[1]:
        n *= 2
    a, h = a.clone(), h.clone()
    step = 1
    while step < n:
        h_new = h.clone()
        h_new[:, step:n] = h[:, step:n] + a[:, step:n] * h[:, :n - step]
        a_new = a.clone()
        a_new[:, step:n] = a[:, step:n] * a[:, :n - step]
        a, h = a_new, h_new
        step *= 2
    return h


def forward(gate, x):
    return _tree_scan(torch.sigmoid(gate), x)


def backward(grad_output, output, gate, x):
    a = torch.sigmoid(gate)
    nxt = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
    lam = _tree_scan(nxt.flip(1), grad_output.flip(1)).flip(1)
    prev = torch.cat([torch.zeros_like(output[:, :1]), output[:, :-1]], 1)
    return lam * prev * a * (1 - a), lam


candidate = (forward, backward)
