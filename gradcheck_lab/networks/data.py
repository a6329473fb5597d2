"""The digits data of scikit-learn, split and standardised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from gradcheck_lab.errors import InvalidArgument

TRAIN, VALIDATION = 1437, 360


@dataclass(frozen=True, slots=True)
class Digits:
    """Images as rows of 64 standardised pixels, float64 (n, 64), and the digit of each, int64 (n,)."""

    train_x: torch.Tensor
    train_digits: torch.Tensor
    validation_x: torch.Tensor
    validation_digits: torch.Tensor


def load(seed: int) -> Digits:
    """Shuffle the 1797 digits by `seed`, and keep 1437 for training and 360 for validation.

    Raises `InvalidArgument` when scikit-learn is not installed.
    """
    pixels, digits = load_raw()
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    x, y = pixels[order], digits[order]
    train_x, validation_x = standardise(x[:TRAIN], x[TRAIN:])
    return Digits(train_x, y[:TRAIN], validation_x, y[TRAIN:])


def load_raw() -> tuple[torch.Tensor, torch.Tensor]:
    """All images in their order: rows of 64 pixels from 0 to 16, float64 (1797, 64), and the digit of each, int64 (1797,).

    Raises `InvalidArgument` when scikit-learn is not installed.
    """
    try:
        pixels, digits = _read()
    except ImportError:
        raise InvalidArgument(
            "the digits data need scikit-learn, which is not installed; pip install 'gradcheck_lab[demo]'"
        ) from None
    return pixels.clone(), digits.clone()


@cache  # a demo asks for them once for each of its networks
def _read() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return torch.from_numpy(pixels).double(), torch.from_numpy(digits).long()


def standardise(train: torch.Tensor, validation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtract the mean and divide by the deviation of each column of `train`; a constant column is only centred.

    >>> standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[5.0, 5.0]]))
    (tensor([[-1.,  0.],
            [ 1.,  0.]]), tensor([[3., 0.]]))
    """
    mean, deviation = train.mean(0), train.std(0, correction=0)
    # A pixel that is constant up to rounding would be blown up to noise of size one.
    deviation = torch.where(train.amax(0) == train.amin(0), 1.0, deviation)
    return (train - mean) / deviation, (validation - mean) / deviation
