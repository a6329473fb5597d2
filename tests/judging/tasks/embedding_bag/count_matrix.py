import torch


def _counts(table, indices):
    counts = torch.zeros(indices.shape[0], table.shape[0], dtype=table.dtype)
    return counts.scatter_add_(1, indices, torch.ones(indices.shape, dtype=table.dtype))


def forward(table, indices):
    return _counts(table, indices) @ table


def backward(grad_output, output, table, indices):
    return _counts(table, indices).t() @ grad_output, None


candidate = (forward, backward)
