"""What each kind of edit makes of a line, written out whole; a kind without a row here fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds import MENDS, MISTAKES
from gradcheck_lab.edits.kinds.kind import Kind
from tests.edits.written import module_of

KINDS = {kind.name: kind for kind in (*MISTAKES, *MENDS)}
# the body of a backward(g, out, x, w, *, p=2, eps=1e-5), and all lines that the kind makes of its first line
ROWS: dict[str, list[tuple[str, list[str]]]] = {
    "drop-sum": [
        ("return g.sum(0), (x + w).mean(dim=1)", ["return g, (x + w).mean(dim=1)", "return g.sum(0), (x + w)"]),
        ("return torch.sum(x + w, 0) * 2", ["return (x + w) * 2"]),
        ("return sum(g)", []),
    ],
    "drop-axis": [
        ("return g.sum(0, keepdim=True)", ["return g.sum()"]),
        ("return torch.sum(g, (0, 2))", ["return torch.sum(g)", "return torch.sum(g, (2,))", "return torch.sum(g, (0,))"]),
        ("return g.sum()", []),
    ],
    "sum-for-mean": [
        ("return g.sum(0)", ["return g.mean(0)"]), ("return torch.mean(g, dim=0)", ["return torch.sum(g, dim=0)"])
    ],
    "change-axis": [
        ("return g.sum(0)", ["return g.sum(1)"]),
        ("return torch.softmax(g, -1)", ["return torch.softmax(g, -2)"]),
        ("return g.sum(dim=(0, 2))", ["return g.sum(dim=(1, 2))", "return g.sum(dim=(0, 1))"]),
        ("return torch.cat([g, x], dim=1)", ["return torch.cat([g, x], dim=0)"]),
        ("return torch.split(g, 2)", []),
    ],
    "flip-keepdim": [
        ("return g.sum(0, keepdim=True)", ["return g.sum(0)"]),
        ("return g.sum(0)", ["return g.sum(0, keepdim=True)"]),
        ("return g.sum()", []),
    ],
    "swap-operands": [
        ("return (x @ w.T, x * w)", ["return (w.T @ x, x * w)"]),
        ("return g * (x - w * 2)", ["return g * ((w * 2) - x)"]),
        ("return torch.where(x > 0, g, 0)", ["return torch.where(x > 0, 0, g)"]),
        ("return torch.matmul(x, w)", ["return torch.matmul(w, x)"]),
        ("return x * w + g", []),
    ],
    "swap-returned": [("return g * x, g", ["return g, g * x"]), ("return lambda a: (a, g)", ["return lambda a: (g, a)"])],
    "drop-transpose": [
        ("return g @ w.T, x.transpose(0, 1)", ["return g @ w, x.transpose(0, 1)", "return g @ w.T, x"]),
        ("return torch.permute(g, (1, 0))", ["return g"]),
    ],
    "add-transpose": [
        ("return x @ (g * w)", ["return x.mT @ (g * w)", "return x @ (g * w).mT"]),
        ("return x.T @ g", ["return x.T @ g.mT"]),
        ("return torch.matmul(x, w)", ["return torch.matmul(x.mT, w)", "return torch.matmul(x, w.mT)"]),
    ],
    "change-sign": [
        ("return -g", ["return g"]),
        ("y = x + w * g", ["y = x - w * g"]),
        ("y -= g", ["y += g"]),
        ("return g * x, None", ["return -(g * x), None"]),
        ("y = x.sum(-1)", []),
    ],
    "drop-factor": [
        ("y = g * x", ["y = g", "y = x"]),
        ("y = (g + x) / w", ["y = (g + x)"]),
        ("y = g.mul(x)", ["y = g"]),
        ("y *= g", ["y"]),
    ],
    "drop-power": [
        ("y = g * x ** 2", ["y = g * x"]),
        ("y = x.square() + torch.pow(w, 3)", ["y = x + torch.pow(w, 3)", "y = x.square() + w"]),
    ],
    "double": [("return g", ["return 2 * g"]), ("y = 3 * x / 0.5", ["y = 3 * x / 1.0", "y = 6 * x / 0.5"])],
    "halve": [("return g * x", ["return 0.5 * (g * x)"])],
    "drop-upstream": [("y = g * x", ["y = torch.ones_like(g) * x"]), ("h.g = f(g=x)", [])],
    "multiply-by-upstream": [("return x, None", ["return g * x, None"])],
    "drop-epsilon": [
        ("y = x / (w + eps)", ["y = x / w"]), ("y = 1e-8 + x", ["y = x"]),
        ("y = x.clamp_min(1e-6)", ["y = x"]), ("y = x + 1.0", [])
    ],
    "other-comparison": [("y = g * (x > 0)", ["y = g * (x >= 0)"]), ("y = x.lt(0)", ["y = x.le(0)"]), ("y = x == 0", [])],
    "first-index": [("y = x[:, p]", ["y = x[:, 0]"]), ("y = x * g", ["y = x * g.ravel()[0]"]), ("y = x[1]", [])],
    "short-loop": [
        ("for i in range(len(x)): pass", ["for i in range(len(x) - 1): pass"]),
        ("for a, b in zip(x, w): pass", ["for a, b in list(zip(x, w))[:-1]: pass"]),
    ],
    "ignore-option": [("y = g if p == 1 else x", ["y = g if 2 == 1 else x"]), ("y = f(p=x)", [])],
    "overwrite": [("y += g", ["y = g"]), ("y[0] -= g", ["y[0] = g"])],
    "overwrite-indexed": [
        ("numpy.add.at(y, x, g)", ["y[x] = g"]), ("return w.index_add_(0, x, g)", ["return w.index_copy_(0, x, g)"])
    ],
    "accumulate": [("y = g", ["y += g"]), ("y, z = g", [])],
    "drop-copy": [("y = g.clone().contiguous()", ["y = g.clone()", "y = g.contiguous()"])],
    "add-clone": [("y = g * x", ["y = g.clone() * x"])],
    "swap-saved": [("a, b = p.saved_tensors", ["b, a = p.saved_tensors"]), ("y = g * x", ["y = g * w"]), ("y = g.x", [])],
    "detach": [("return g * x, None", ["return (g * x).detach(), None"])],
    "through-half": [("return x", ["return x.half().to(g.dtype)"])],
    "return-none": [("return g, x", ["return None, x", "return g, None"]), ("return (g,) if p else (None, x)",
                    ["return (None,) if p else (None, x)", "return (g,) if p else (None, None)"])],
    "add-sum": [("return g", ["return g.sum(0)", "return g.sum(-1)", "return g.sum()"])],
    "multiply-by-name": [
        ("return g, None", [
            "return g * g, None", "return g / g, None", "return g * out, None", "return g / out, None",
            "return g * x, None", "return g / x, None", "return g * w, None", "return g / w, None"
        ]),
        ("y = g + x", [
            "y = (g + x) * g", "y = (g + x) / g", "y = (g + x) * out", "y = (g + x) / out", "y = (g + x) * x",
            "y = (g + x) / x", "y = (g + x) * w", "y = (g + x) / w", "y = g * g + x", "y = g + x * g",
            "y = g / g + x", "y = g + x / g", "y = g * out + x", "y = g + x * out", "y = g / out + x",
            "y = g + x / out", "y = g * x + x", "y = g + x * x", "y = g / x + x", "y = g + x / x",
            "y = g * w + x", "y = g + x * w", "y = g / w + x", "y = g + x / w", "y = g * y + x",
            "y = g + x * y", "y = g / y + x", "y = g + x / y"
        ]),
    ],
    "scale-by-size": [
        ("y = g", [
            "y = 2 * g", "y = 0.5 * g", "y = -1 * g", "y = g / g.shape[0]", "y = g * g.shape[0]",
            "y = g / g.shape[-1]", "y = g * g.shape[-1]", "y = g / g.numel()", "y = g * g.numel()",
            "y = g / out.shape[0]", "y = g * out.shape[0]", "y = g / out.shape[-1]", "y = g * out.shape[-1]",
            "y = g / out.numel()", "y = g * out.numel()", "y = g / x.shape[0]", "y = g * x.shape[0]",
            "y = g / x.shape[-1]", "y = g * x.shape[-1]", "y = g / x.numel()", "y = g * x.numel()",
            "y = g / w.shape[0]", "y = g * w.shape[0]", "y = g / w.shape[-1]", "y = g * w.shape[-1]",
            "y = g / w.numel()", "y = g * w.numel()"
        ]),
        ("return x", [
            "return x / g.shape[0]", "return x * g.shape[0]", "return x / g.shape[-1]",
            "return x * g.shape[-1]", "return x / g.numel()", "return x * g.numel()",
            "return x / out.shape[0]", "return x * out.shape[0]", "return x / out.shape[-1]",
            "return x * out.shape[-1]", "return x / out.numel()", "return x * out.numel()",
            "return x / x.shape[0]", "return x * x.shape[0]", "return x / x.shape[-1]",
            "return x * x.shape[-1]", "return x / x.numel()", "return x * x.numel()", "return x / w.shape[0]",
            "return x * w.shape[0]", "return x / w.shape[-1]", "return x * w.shape[-1]",
            "return x / w.numel()", "return x * w.numel()"
        ]),
    ],
    "change-integer": [
        ("y = x ** 3", ["y = x ** 2", "y = x ** 4"]),
        ("y = x * 2", ["y = x * 3", "y = x / 2"]),
        ("y = x - 1", ["y = x - 0", "y = x - 2"]),
    ],
    "complement": [
        ("y = g * x", [
            "y = g * x * (1 - g)", "y = g * x * (1 - g**2)", "y = g * x * (1 - out)",
            "y = g * x * (1 - out**2)", "y = g * x * (1 - x)", "y = g * x * (1 - x**2)", "y = g * x * (1 - w)",
            "y = g * x * (1 - w**2)", "y = (1 - g) * x", "y = g * (1 - x)"
        ]),
    ],
    "square-name": [
        ("y = 1 - x", ["y = 1 - x**2"]),
    ],
    "add-term": [
        ("return g", [
            "return g + g", "return g + out", "return g + x", "return g + w",
            "return g - g.mean(-1, keepdim=True)", "return g - g * (g * g).sum(-1, keepdim=True)",
            "return g - g * (g * g).mean(-1, keepdim=True)",
            "return g - out * (g * out).sum(-1, keepdim=True)",
            "return g - out * (g * out).mean(-1, keepdim=True)",
            "return g - x * (g * x).sum(-1, keepdim=True)", "return g - x * (g * x).mean(-1, keepdim=True)",
            "return g - w * (g * w).sum(-1, keepdim=True)", "return g - w * (g * w).mean(-1, keepdim=True)",
            "return g - g.mean(0, keepdim=True)", "return g - g * (g * g).sum(0, keepdim=True)",
            "return g - g * (g * g).mean(0, keepdim=True)", "return g - out * (g * out).sum(0, keepdim=True)",
            "return g - out * (g * out).mean(0, keepdim=True)", "return g - x * (g * x).sum(0, keepdim=True)",
            "return g - x * (g * x).mean(0, keepdim=True)", "return g - w * (g * w).sum(0, keepdim=True)",
            "return g - w * (g * w).mean(0, keepdim=True)"
        ]),
    ],
    "use-upstream": [
        ("y = torch.ones_like(g) * x", ["y = g * x"]),
    ],
    "whole-array": [
        ("y = g[0]", ["y = g"]),
        ("y = g.ravel()[0] * x", ["y = g.ravel() * x", "y = g * x"]),
        ("y = g.sum().item()", ["y = g.sum()"]),
    ],
    "replace-name": [
        ("y = g * x", [
            "y = out * x", "y = x * x", "y = w * x", "y = y * x", "y = g * g", "y = g * out", "y = g * w",
            "y = g * y"
        ]),
    ],
    "number-of-forward": [
        ("y = x + 2", ["y = x + 3", "y = x + 1e-06"]),
    ],
    "read-option": [
        ("y = x + 2", ["y = x + p"]),
        ("y = x + 3", []),
    ],
    "add-epsilon": [
        ("y = x.sqrt()", ["y = (x + 1e-06).sqrt()"]),
        ("y = g / x", ["y = g / (x + 1e-06)"]),
    ],
    "drop-offset": [
        ("y = x - 1", ["y = x"]),
        ("y = x[1:]", ["y = x[:]"]),
    ],
    "add-conjugate": [
        ("return g", ["return g.conj()"]),
    ],
    "match-shape": [
        ("return g", [
            "return g.sum(tuple(range(g.ndim - 1)))", "return g.sum_to_size(g.shape)",
            "return g.reshape(g.shape)", "return g.sum_to_size(out.shape)", "return g.reshape(out.shape)",
            "return g.sum_to_size(x.shape)", "return g.reshape(x.shape)", "return g.sum_to_size(w.shape)",
            "return g.reshape(w.shape)", "return g.sum(1)", "return g.sum((0, 1))", "return g.sum((0, 2, 3))",
            "return g.sum(0, keepdim=True)", "return g.sum(1, keepdim=True)", "return g.sum(-1, keepdim=True)"
        ]),
    ],
    "transpose-value": [
        ("return g * x", [
            "return (g * x).mT", "return (g * x).flip(-1)", "return g.flip(-1) * x", "return g.flip(0) * x",
            "return g * x.flip(-1)", "return g * x.flip(0)"
        ]),
    ],
    "accumulate-indexed": [
        ("y[p] = g", ["y.index_put_((p,), g, accumulate=True)"]),
        ("y[p] += g", ["y.index_put_((p,), g, accumulate=True)"]),
        ("return x.index_copy_(0, p, g)", ["return x.index_add_(0, p, g)"]),
    ],
    "out-of-place": [
        ("y *= g + x", ["y = y * (g + x)"]),
        ("x.mul_(g)", ["x = x.mul(g)", "x.mul(g)"]),
        ("return x.mul_(g)", ["return x.mul(g)"]),
    ],
    "clone-value": [
        ("return g", ["return g.clone()"]),
    ],
    "add-contiguous": [
        ("y = g.view(-1)", ["y = g.reshape(-1)", "y = g.contiguous().view(-1)"]),
    ],
    "return-name": [
        ("return g, None", [
            "return g, g", "return g, out", "return g, x", "return g, w", "return g, g * out",
            "return g, g * x", "return g, g * w", "return g, None, None", "return g, None, g",
            "return g, None, out", "return g, None, x", "return g, None, w", "return g,"
        ]),
    ],
    "cast": [
        ("return g", ["return g.to(g.dtype)", "return g.to(out.dtype)", "return g.to(x.dtype)", "return g.to(w.dtype)"]),
    ],
    "drop-cast": [
        ("y = x.float() * g", ["y = x * g"]),
    ],
    "drop-detach": [
        ("return g.detach()", ["return g"]),
        ("y = x.data", ["y = x"]),
    ],
}  # fmt: skip


def lines_made(kind: Kind, line: str, folder: Path) -> list[str]:
    """The lines that a kind makes of the first line of a backward."""
    head = "def backward(g, out, x, w, *, p=2, eps=1e-5):"
    forward = "def forward(x, w, *, p=2, eps=1e-5):\n    return 3 * x + 1e-6\n"
    module: Any = module_of(folder, f"import torch\nimport numpy\n\n{head}\n    {line}\n    torch\n\n{forward}")
    return [edit.after for edit in edits_of((module.forward, module.backward), [kind]) if edit.line == 5]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_makes_these_lines(name: str, tmp_path: Path) -> None:
    assert ROWS.get(name), f"{name} has no row"
    for number, (line, made) in enumerate(ROWS[name]):
        (tmp_path / str(number)).mkdir()
        assert lines_made(KINDS[name], line, tmp_path / str(number)) == made, line


def test_every_row_is_of_a_kind() -> None:
    assert set(ROWS) == set(KINDS)
