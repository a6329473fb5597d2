import torch


def forward(x):
    length = (x * x).sum(-1).sqrt()
    return x / length[:, None]


def backward(grad_output, output, x):
    rows = []
    for g, row in zip(grad_output, x, strict=True):
        length = torch.dot(row, row).sqrt()
        unit = row / length
        jacobian = (torch.eye(len(row), dtype=row.dtype) - torch.outer(unit, unit)) / length
        rows.append(g @ jacobian)
    return (torch.stack(rows) if rows else x.clone(),)


candidate = (forward, backward)
