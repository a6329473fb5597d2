"""The reference networks, as programs made of ops: one program serves the hand-written side and autograd."""

from __future__ import annotations

from gradcheck_lab.networks.digits import PARAMETERS, digits_classifier, digits_regressor, digits_scores, initial_parameters

__all__ = ["PARAMETERS", "digits_classifier", "digits_regressor", "digits_scores", "initial_parameters"]
