"""When autograd at nearby points shows a kink, and when a value there is admitted."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

INTERVAL_SLACK = Threshold(
    1e-3,
    "The points are close and not at the kink itself, so the ends of the interval are known to a thousandth of its width.",
    mistake="outside-subdifferential-probed-relu-at-zero",
    twin="sound outside-subdifferential-probed-relu-at-zero",
)
LIMIT_ERROR = Threshold(
    1e-9,
    "Where autograd stands alone the nearby gradients agree, and float64 gives their limit to nine digits.",
)
KINK_STAYS = Threshold(
    0.25,
    "The gap between gradients on two sides of a kink stays as the points come 64 times closer, a slope's shrinks to a 64th: a "
    "quarter lies between.",
    mistake="outside-subdifferential-probed-relu-at-zero",
    twin="once flagged: every unit at its kink",
)
SLOPES_DIFFER = Threshold(
    1e-9,
    "Slopes of two sides that differ by less than nine digits differ by rounding, and there is no kink.",
    mistake="outside-subdifferential-pair-small-kink",
    twin="sound outside-subdifferential-pair-small-kink",
)
SETTLED = Threshold(
    1e-3,
    "A derivative that changes by less than a thousandth over a tiny distance is the same there: another kink or a singularity "
    "would change it by everything.",
    mistake="value-dependent-probed-cube-near-zero",
    twin="sound value-dependent-probed-cube-near-zero",
)
STEADY_AT_KINK = Threshold(
    1e-6,
    "Beside values as small as the step the gradient itself changes at most points; one where it stays to six digits, however "
    "far the values are moved, stands for one side of a kink.",
)
STEADY_APART = Threshold(
    1e-2,
    "Steady points that are a hundred times as far apart as any of them changes are on two sides of a kink, and no noise.",
)
INSIDE_ROUNDING = Threshold(
    2.0**-44,
    "A gradient that differs from its neighbours by less than 2^-44 of the upstream is what rounding leaves where terms as "
    "large as the upstream cancel.",
)
NEARLY_RIGHT = Threshold(
    1e-5,
    "At stress values sound rules of float32 lose five digits, and an element that is wrong at a tie is wrong by a share of "
    "it.",
    mistake="value-dependent-pair-fourth-power-of-large",
    twin="sound value-dependent-pair-fourth-power-of-large",
)
NEARLY_ZERO = Threshold(
    1e-12,
    "An element that is this small against the largest is zero but for cancelled terms.",
)
SPIKE = Threshold(
    1e6,
    "A gradient a million times as large at zero as right beside it is no derivative of what the forward computes there.",
)
