"""The loss is a mean over the batch, and its gradient is that of the sum: five times too large for five rows."""

import torch

import gradcheck_lab as gl


def cross_entropy(logits, labels):
    log_p = torch.log_softmax(logits, -1)
    return -log_p[torch.arange(len(labels)), labels].mean()


def cross_entropy_backward(grad_output, output, logits, labels):
    grad = torch.softmax(logits, -1)
    grad[torch.arange(len(labels)), labels] -= 1
    return grad_output * grad, None


# %% call
logits = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4], [0.2, 0.9, 1.1], [-0.6, 0.4, 0.0], [2.0, -1.0, 0.5]])
labels = torch.tensor([0, 2, 1, 1, 0])
report = gl.check((cross_entropy, cross_entropy_backward), logits, labels)


# %% mended
def cross_entropy_backward(grad_output, output, logits, labels):
    grad = torch.softmax(logits, -1)
    grad[torch.arange(len(labels)), labels] -= 1
    return grad_output * grad / len(labels), None
