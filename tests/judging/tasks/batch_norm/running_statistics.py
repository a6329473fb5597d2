import torch


class BatchNorm:
    def __init__(self, momentum=0.9):
        self.momentum = momentum
        self.running = {}

    def forward(self, x, gamma, beta, eps=1e-5):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        old = self.running.get(x.shape[1])
        if old is not None:
            mean = self.momentum * old[0].to(mean.dtype) + (1 - self.momentum) * mean
            var = self.momentum * old[1].to(var.dtype) + (1 - self.momentum) * var
        self.running[x.shape[1]] = (mean.detach(), var.detach())
        self.inv = torch.rsqrt(var + eps)
        self.xhat = (x - mean) * self.inv
        self.gamma = gamma
        return gamma * self.xhat + beta

    def backward(self, dy):
        h = self.xhat
        dx = self.gamma * self.inv * (dy - dy.mean(0) - h * (dy * h).mean(0))
        return dx, (dy * h).sum(0), dy.sum(0)


candidate = BatchNorm()
