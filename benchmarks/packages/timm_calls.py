"""timm: memory-efficient activations. They are run by their file, since timm itself imports torchvision."""

import torch
from by_file import module_at

import gradcheck_lab as gl

torch.manual_seed(0)
X = 3 * torch.randn(4, 5, dtype=torch.float64)
ACTIVATIONS = module_at("timm", "layers", "activations_me.py")
Swish, Mish = ACTIVATIONS.SwishAutoFn, ACTIVATIONS.MishAutoFn
HardSigmoid, HardSwish, HardMish = ACTIVATIONS.HardSigmoidAutoFn, ACTIVATIONS.HardSwishAutoFn, ACTIVATIONS.HardMishAutoFn

if __name__ == "__main__":
    gl.check(Swish, X)
    gl.check(Mish, X)
    gl.check(HardSigmoid, X)
    gl.check(HardSwish, X)
    gl.check(HardMish, X)
