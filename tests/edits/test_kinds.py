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
}  # fmt: skip


def lines_made(kind: Kind, line: str, folder: Path) -> list[str]:
    """The lines that a kind makes of the first line of a backward."""
    head = "def backward(g, out, x, w, *, p=2, eps=1e-5):"
    module: Any = module_of(folder, f"import torch\nimport numpy\n\n{head}\n    {line}\n    torch\n")
    return [edit.after for edit in edits_of((module.torch.relu, module.backward), [kind]) if edit.line == 5]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_makes_these_lines(name: str, tmp_path: Path) -> None:
    assert ROWS.get(name), f"{name} has no row"
    for number, (line, made) in enumerate(ROWS[name]):
        (tmp_path / str(number)).mkdir()
        assert lines_made(KINDS[name], line, tmp_path / str(number)) == made, line


def test_every_row_is_of_a_kind() -> None:
    assert set(ROWS) == set(KINDS)
