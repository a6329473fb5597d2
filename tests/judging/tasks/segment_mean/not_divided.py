import torch


class SegmentMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, segments, base):
        counts = torch.bincount(segments, minlength=base.shape[0]).clamp(min=1)
        ctx.save_for_backward(segments)
        return base + torch.zeros_like(base).index_add_(0, segments, values) / counts[:, None]

    @staticmethod
    def backward(ctx, g):
        (segments,) = ctx.saved_tensors
        return g[segments], None, g


candidate = SegmentMean
