"""The demo's picture: the loss curves of both sides, and the error of every gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcheck_lab.errors import InvalidArgument

_FLOOR = 1e-17

Curves = Mapping[str, Sequence[float]]


def require_matplotlib() -> None:
    """Raise `InvalidArgument` when matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401 (whether it is there)
    except ImportError:
        raise InvalidArgument("a plot needs matplotlib, which is not installed; pip install 'gradcheck_lab[demo]'") from None


def plot_training(path: Path, losses: Mapping[str, Curves], differences: Mapping[str, Mapping[str, float]]) -> None:
    """Write a picture with one row per network: its losses by side and step, and its difference by gradient.

    Raises `InvalidArgument` when matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(losses)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(losses), 2, squeeze=False)
    for (title, curves), (left, right) in zip(losses.items(), axes, strict=True):
        _curves(left, title, curves)
        _bars(right, title, differences[title])
    figure.savefig(path, dpi=120)


def _curves(axis: Any, title: str, curves: Curves) -> None:
    # The sides lie on each other: the first is drawn wide, the next narrow and dashed on top.
    for (side, values), width, style in zip(curves.items(), (3.0, 1.2), ("-", "--"), strict=True):
        axis.plot(range(1, len(values) + 1), values, label=side, linewidth=width, linestyle=style)
    axis.set(title=title, xlabel="step", ylabel="loss of the batch", yscale="log")
    axis.legend()


def _bars(axis: Any, title: str, differences: Mapping[str, float]) -> None:
    # Zero has no place on a logarithmic axis: it becomes a bar without height.
    heights = [max(value, _FLOOR) for value in differences.values()]
    axis.bar(list(differences), heights)
    axis.set(title=f"{title}: the two sides", ylabel="largest relative difference", yscale="log")
    axis.set_ylim(_FLOOR, 10 * max(heights))
