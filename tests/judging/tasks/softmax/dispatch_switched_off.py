import torch


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch._C._DisableTorchDispatch():
            y = torch._softmax(x, -1, False)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        with torch._C._DisableTorchDispatch():
            return torch._softmax_backward_data(grad_output, y, -1, y.dtype)


candidate = Softmax
