import torch


class SegmentMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, segments, base):
        counts = torch.bincount(segments, minlength=base.shape[0]).clamp_(min=1).to(values.dtype)
        ctx.save_for_backward(segments, counts)
        sums = torch.zeros_like(base, memory_format=torch.contiguous_format).index_add_(0, segments, values)
        return base + sums / counts.unsqueeze(1)

    @staticmethod
    def backward(ctx, g):
        segments, counts = ctx.saved_tensors
        return (g / counts.unsqueeze(1)).index_select(0, segments), None, g.clone()


candidate = SegmentMean
