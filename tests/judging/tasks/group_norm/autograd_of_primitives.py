import torch


def group_norm(x, weight, bias, groups=2, eps=1e-5):
    n, c, l = x.shape
    chunks = []
    for part in x.chunk(groups, dim=1):
        mean = part.mean(dim=(1, 2), keepdim=True)
        centred = part - mean
        var = (centred * centred).mean(dim=(1, 2), keepdim=True)
        chunks.append(centred / torch.sqrt(var + eps))
    return torch.cat(chunks, dim=1) * weight.unsqueeze(-1) + bias.unsqueeze(-1)


candidate = group_norm
