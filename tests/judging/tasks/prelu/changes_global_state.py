import torch

torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float16)


def candidate(x, slope):
    torch.set_grad_enabled(False)
    mask = (x > 0).to(torch.get_default_dtype())
    return (x.half() * (mask + (1 - mask) * slope.half())).to(x.dtype)
