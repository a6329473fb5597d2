import torch


def forward(table, indices):
    return table[indices].sum(1)


def backward(grad_output, output, table, indices):
    grad = torch.empty_like(table)
    used = indices.unique()
    grad[used] = 0
    grad.index_put_((indices,), grad_output[:, None].expand(*indices.shape, table.shape[1]), accumulate=True)
    return grad, None


candidate = (forward, backward)
