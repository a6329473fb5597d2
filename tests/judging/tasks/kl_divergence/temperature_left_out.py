import torch


def _softmax(z):
    e = torch.exp(z - z.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def _terms(student, teacher, temperature):
    log_q = student / temperature - torch.logsumexp(student / temperature, -1, keepdim=True)
    log_p = teacher / temperature - torch.logsumexp(teacher / temperature, -1, keepdim=True)
    return log_q, log_p


def forward(student, teacher, temperature=2.0):
    log_q, log_p = _terms(student, teacher, temperature)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def backward(grad_output, output, student, teacher, temperature=2.0):
    log_q, log_p = _terms(student, teacher, temperature)
    p, diff = log_p.exp(), log_p - log_q
    scale = grad_output / student.shape[0]
    return scale * (_softmax(student / temperature) - p), scale * p * (diff - (p * diff).sum(-1, keepdim=True))


candidate = (forward, backward)
