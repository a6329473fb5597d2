import torch


class SegmentMean(torch.nn.Module):
    def forward(self, values, segments, base):
        member = torch.nn.functional.one_hot(segments, base.shape[0]).to(values.dtype)
        return base + member.t() @ values / (member.sum(0)[:, None] + 1e-4)


candidate = SegmentMean
