import torch
import torch.nn.functional as F


def candidate(x, weight, bias, groups=2, eps=1e-5):
    return torch.func.vmap(lambda row: F.group_norm(row[None], groups, weight, bias, eps)[0])(x)
