

def forward(a, b):
    na, nb = a.pow(2).sum(-1).sqrt(), b.pow(2).sum(-1).sqrt()
    return (a * b).sum(-1) / (na * nb)


def backward(grad_output, output, a, b):
    scale = (grad_output / (a.pow(2).sum(-1).sqrt() * b.pow(2).sum(-1).sqrt())).unsqueeze(-1)
    return scale * b, scale * a


candidate = (forward, backward)
