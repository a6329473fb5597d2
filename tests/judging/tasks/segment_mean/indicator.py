import torch


def _indicator(values, segments, base):
    member = (segments[None, :] == torch.arange(base.shape[0])[:, None]).to(values.dtype)
    return member / member.sum(1, keepdim=True).clamp(min=1)


def forward(values, segments, base):
    return base + _indicator(values, segments, base) @ values


def backward(grad_output, output, values, segments, base):
    return _indicator(values, segments, base).t() @ grad_output, None, grad_output


candidate = (forward, backward)
