import torch


class RMSNorm(torch.nn.Module):
    def forward(self, x, weight, eps=1e-5):
        rms = x.square().mean(dim=-1, keepdim=True).sqrt()
        return x / (rms + eps) * weight


candidate = RMSNorm
