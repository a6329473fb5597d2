import torch

_lib = torch.library.Library("fast_activations", "FRAGMENT")
_lib.define("prelu(Tensor x, Tensor slope) -> Tensor")
_lib.impl("prelu", lambda x, slope: torch.ops.aten._prelu_kernel(x, slope), "CPU")
_lib.define("prelu_bwd(Tensor g, Tensor x, Tensor slope) -> (Tensor, Tensor)")
_lib.impl("prelu_bwd", lambda g, x, slope: torch.ops.aten._prelu_kernel_backward(g, x, slope), "CPU")


class PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x, slope)
        return torch.ops.fast_activations.prelu(x, slope.expand_as(x))

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        dx, ds = torch.ops.fast_activations.prelu_bwd(g, x, slope.expand_as(x))
        return dx, ds.sum(0)


candidate = PReLU
