import torch.nn.functional as F


def candidate(x):
    return F.adaptive_max_pool1d(x, x.shape[-1] // 2)
