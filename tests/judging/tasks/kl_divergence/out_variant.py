import torch


def _log_softmax(z):
    out = torch.empty_like(z, memory_format=torch.contiguous_format)
    torch.ops.aten._log_softmax.out(z, -1, False, out=out)
    return out


def forward(student, teacher, temperature=2.0):
    q, p = _log_softmax(student / temperature), _log_softmax(teacher / temperature)
    return (p.exp() * (p - q)).sum(-1).mean()


def backward(grad_output, output, student, teacher, temperature=2.0):
    q, p = _log_softmax(student / temperature), _log_softmax(teacher / temperature)
    scale = grad_output / (student.shape[0] * temperature)
    row = (p.exp() * (p - q)).sum(-1, keepdim=True)
    return scale * (q.exp() - p.exp()), scale * p.exp() * (p - q - row)


candidate = (forward, backward)
