import numpy as np


def _sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


class SwiGLULayer:
    def forward(self, gate, up):
        self.gate, self.up = gate, up
        self.s = _sigmoid(gate)
        return gate * self.s * up

    def backward(self, dout):
        ds = self.s * _sigmoid(-self.gate)
        dgate = dout * self.up * (self.s + self.gate * ds)
        dup = dout * self.gate * self.s
        return dgate, dup


candidate = SwiGLULayer()
