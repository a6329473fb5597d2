def forward(x):
    mean = x.mean(dim=1)
    second = ((x - mean.unsqueeze(1)) ** 2).mean(dim=1)
    return mean, second


def backward(grad_output, output, x):
    g_mean, g_var = grad_output
    mean, _ = output
    d = x.shape[1]
    return (g_mean.unsqueeze(1) / d + g_var.unsqueeze(1) * 2.0 / d * (x - mean.unsqueeze(1)),)


candidate = (forward, backward)
