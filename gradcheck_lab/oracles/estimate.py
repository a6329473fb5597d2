"""What every oracle returns: a gradient and how far it may be from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Estimate:
    """A gradient and how far it may be from the truth.

    `value` has the shape of what it is the gradient of, None where nothing depends on it; `relative_error` is
    relative to the root mean square of `value`; `absolute_error`, where it is given, takes its place.
    """

    value: torch.Tensor | None
    relative_error: float
    method: str
    absolute_error: float | None = None

    @property
    def error(self) -> float:
        """The absolute error, in the unit of the gradient."""
        if self.absolute_error is not None:
            return self.absolute_error
        if self.value is None or not self.value.numel():
            return 0.0
        rms = torch.linalg.vector_norm(self.value) / self.value.numel() ** 0.5
        return float(rms) * self.relative_error
