"""What the reference networks are trained to do on the digits data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from gradcheck_lab.networks.data import Digits
from gradcheck_lab.networks.digits import digits_classifier, digits_regressor, digits_scores
from gradcheck_lab.networks.lockstep import Parameters, Program


@dataclass(frozen=True, slots=True)
class Task:
    """One network: its targets (n, ...) on the training images, and its score on the validation images."""

    title: str
    network: Program
    sizes: tuple[int, ...]
    rate: float
    target: torch.Tensor
    metric: str
    score: Callable[[Parameters], float]


def digits_tasks(digits: Digits) -> tuple[Task, Task]:
    """Recognise the digit as a class, and its value as a number."""
    values, validation_values = (part.double().unsqueeze(1) for part in (digits.train_digits, digits.validation_digits))

    def accuracy(parameters: Parameters) -> float:
        predicted = digits_scores(digits.validation_x, *parameters).argmax(1)
        return float((predicted == digits.validation_digits).double().mean())

    def loss(parameters: Parameters) -> float:
        return float(digits_regressor(digits.validation_x, validation_values, *parameters))

    return (
        Task(
            "classifier 64-32-10",
            digits_classifier,
            (64, 32, 10),
            0.3,
            digits.train_digits,
            "validation accuracy",
            accuracy,
        ),
        Task("regressor 64-30-1", digits_regressor, (64, 30, 1), 0.02, values, "validation loss", loss),
    )
