import torch
import torch.nn.functional as F

_LO, _HI, _N = -8.0, 8.0, 4097
_grid = torch.linspace(_LO, _HI, _N, dtype=torch.float64, requires_grad=True)
_values = F.gelu(_grid)
(_slopes,) = torch.autograd.grad(_values.sum(), _grid)
_values, _slopes = _values.detach(), _slopes.detach()


def _interp(table, x, left, right):
    u = (x.double().clamp(_LO, _HI) - _LO) / (_HI - _LO) * (_N - 1)
    i = u.floor().long().clamp(0, _N - 2)
    y = torch.lerp(table[i], table[i + 1], u - i)
    y = torch.where(x < _LO, left.double(), y)
    return torch.where(x > _HI, right.double(), y).to(x.dtype)


class TableGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return _interp(_values, x, torch.zeros_like(x), x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * _interp(_slopes, x, torch.zeros_like(x), torch.ones_like(x))


candidate = TableGELU
