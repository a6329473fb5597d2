import torch


class BCEWithLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.save_for_backward(logits, target)
        loss = torch.relu(logits) - logits * target + torch.log1p(torch.exp(-torch.abs(logits)))
        return loss.mean()

    @staticmethod
    def backward(ctx, grad_output):
        logits, target = ctx.saved_tensors
        scale = grad_output / logits.numel()
        return scale * (torch.sigmoid(logits) - target), -scale * logits


candidate = BCEWithLogits
