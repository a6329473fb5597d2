import torch


class SymmetricInfoNCE(torch.nn.Module):
    def forward(self, queries, keys, temperature=4.0):
        s = queries @ keys.t() / temperature
        rows = torch.logsumexp(s, 1) - s.diagonal()
        columns = torch.logsumexp(s, 0) - s.diagonal()
        return 0.5 * (rows.mean() + columns.mean())


candidate = SymmetricInfoNCE
