import torch


class BinaryCrossEntropy(torch.nn.Module):
    def _log_sigmoid(self, z):
        return torch.where(z > 0, torch.zeros_like(z), z) - torch.log1p(torch.exp(-z.abs()))

    def forward(self, logits, target):
        positive = self._log_sigmoid(logits)
        negative = positive - logits  # log sigmoid(-z) = log sigmoid(z) - z
        return -(target * positive + (1 - target) * negative).mean()


candidate = BinaryCrossEntropy
