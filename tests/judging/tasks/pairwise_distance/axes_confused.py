

def forward(x, y):
    return (x[:, None] - y[None]).pow(2).sum(-1)


def backward(grad_output, output, x, y):
    d = 2 * grad_output[..., None] * (x[:, None] - y[None])
    if x.shape == y.shape:
        return d.sum(0), -d.sum(1)
    return d.sum(1), -d.sum(0)


candidate = (forward, backward)
