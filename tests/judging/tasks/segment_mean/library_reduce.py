import torch


def candidate(values, segments, base):
    index = segments[:, None].expand_as(values)
    return base + torch.zeros_like(base).scatter_reduce(0, index, values, "mean", include_self=False)
