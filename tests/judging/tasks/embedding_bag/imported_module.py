import torch


class Bag(torch.nn.Module):
    def forward(self, table, indices):
        emb = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=table.detach(), dtype=table.dtype)
        return torch.func.functional_call(emb, {"weight": table}, (indices,)).sum(1)


candidate = Bag
