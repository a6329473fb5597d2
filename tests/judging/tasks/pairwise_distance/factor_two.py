

def forward(x, y):
    diff = x[:, None, :] - y[None, :, :]
    return (diff ** 2).sum(axis=2), diff


def backward(dout, cache):
    d = dout[:, :, None] * cache
    return d.sum(axis=1), -d.sum(axis=0)


candidate = (forward, backward)
