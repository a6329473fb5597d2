import torch.nn as nn


class MyLogSoftmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LogSoftmax(dim=-1)

    def forward(self, x):
        return self.inner(x)


candidate = MyLogSoftmax
