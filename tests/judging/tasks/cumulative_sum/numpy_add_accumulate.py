import numpy as np


class CumSum:
    def forward(self, x, weight):
        self.x, self.weight = x, weight
        return np.add.accumulate(x * weight, axis=1)

    def backward(self, dout):
        tail = np.add.accumulate(dout[:, ::-1], axis=1)[:, ::-1]
        return tail * self.weight, (tail * self.x).sum(axis=0)


candidate = CumSum()
