

def forward(x):
    mean = x.mean(-1)
    return mean, (x - mean[:, None]).square().mean(-1)


def backward(grad_output, output, x):
    g_mean, g_var = grad_output
    return ((g_mean[:, None] + 2 * g_var[:, None] * x) / x.shape[-1],)


candidate = (forward, backward)
