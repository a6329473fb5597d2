import torch

CHUNK = 8


def candidate(queries, keys, temperature=4.0):
    n = queries.shape[0]
    total = queries.new_zeros(())
    for i in range(0, n, CHUNK):
        q = queries[i:i + CHUNK]
        s = (q[:, None, :] * keys[None, :, :]).sum(-1) / temperature
        m = s.detach().amax(1, keepdim=True)
        positive = (q * keys[i:i + CHUNK]).sum(-1) / temperature
        total = total + (torch.log(torch.exp(s - m).sum(1)) + m[:, 0] - positive).sum()
    return total / n
