"""What numeric derivatives have to show before they decide: their noise, their error bounds, whom they are trusted beside."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

SAME_FORWARD = Threshold(
    1e-9,
    "A forward that was broadcast beforehand, or run on complex numbers, is the same function when its values agree to nine of "
    "sixteen digits.",
    mistake="wrong-value-pair-numpy-power-nearly-one",
    twin="sound wrong-value-pair-numpy-power-nearly-one",
)
SAME_FORWARD_NEAR_ZERO = Threshold(
    1e-12,
    "Values near zero agree when they are apart by what cancellation leaves in float64.",
    mistake="wrong-value-pair-numpy-at-zero-nearly-one",
    twin="sound wrong-value-pair-numpy-at-zero-nearly-one",
)
SHRINKING_CHANGES = Threshold(
    0.95,
    "Differences that shrink by less than a twentieth a halving converge to nothing that six halvings could find.",
)
NOISE_QUARTILE = Threshold(
    0.75,
    "Seven points may show one group less noise than it has: the upper quartile of all groups is what a group has at least.",
    mistake="constant-factor-pair-number-by-number",
    twin="sound constant-factor-pair-number-by-number",
)
JUMP_STAYS = Threshold(
    0.7,
    "A change that keeps seven tenths of itself over three halvings of the step does not shrink with it: the forward jumps.",
)
JUMP_ABOVE_NOISE = Threshold(
    64,
    "A jump has to be 64 times the noise of the forward, or it is the noise.",
)
SOLVED = Threshold(
    1e-12,
    "An equation is solved when the output is off by a few roundings; Newton's method leaves that or does not converge.",
)
SAME_GRADIENTS = Threshold(
    64,
    "An edited backward computes the same gradients when they are apart by a few dozen roundings of the largest element: other "
    "orders of summation leave less, and mistakes more.",
)
LOOK_TOLERANCE = Threshold(
    1e-6,
    "The guard's one central difference has six digits, and gradients that agree with it to them agree.",
    mistake="disconnected-plain-detached-part",
    twin="sound disconnected-plain-detached-part",
)
LOOK_TOLERANCE_PER_ELEMENT = Threshold(
    1e-8,
    "The sum over the elements rounds too, by a little for each of them.",
    mistake="disconnected-plain-detached-part",
    twin="sound disconnected-plain-detached-part",
)
LOOK_TOLERANCE_AT_MOST = Threshold(
    1e-3,
    "However large the inputs are, a body that detaches or casts is off by more than a thousandth along a random direction.",
    mistake="disconnected-plain-detached-part-of-much",
    twin="sound disconnected-plain-detached-part-of-much",
)
CONFIRMED_CONTRADICTION = Threshold(
    1e-9,
    "A sweep of steps knows a derivative to its own bound and nine digits: a body of torch operations that is off by more is "
    "another function.",
    mistake="disconnected-plain-detached-part",
    twin="sound disconnected-plain-detached-part",
)
TOO_NOISY = Threshold(
    0.1,
    "Differences whose bound is a tenth of the derivative cannot contradict anybody.",
    mistake="disconnected-plain-detached-part-in-float32",
    twin="sound disconnected-plain-detached-part-in-float32",
)
BELOW_INNER_ROUNDING = Threshold(
    2.0**-40,
    "A derivative below 2^-40 of the upstream may be rounding inside the forward, where steps of ordinary size cancel.",
    mistake="disconnected-plain-detached-part-of-little",
    twin="sound disconnected-plain-detached-part-of-little",
)
LOCATED_ROUNDINGS = Threshold(
    16,
    "A sound gradient held against numbers has lost as many roundings as SLICE_ROUNDINGS allows it beside autograd.",
    mistake="wrong-value-pair-numpy-long-nearly-one",
    twin="sound wrong-value-pair-numpy-long-nearly-one",
)
TRUSTED_METHOD = Threshold(
    1e-6,
    "Central differences carry at least six digits, and a forward that detaches, casts or conjugates puts an analytic method "
    "off by far more.",
    mistake="sign-pair-numpy-real-part",
    twin="sound sign-pair-numpy-real-part",
)
LIFTED_ROUNDINGS = Threshold(
    64,
    "A forward that casts to 16 bits on its way is the same function without the casts when its values agree to 64 of their "
    "roundings: as many steps as a sound forward takes in that dtype.",
)
CERTAIN_DIFFERENCES = Threshold(
    0.1,
    "A method is trusted beside differences that know the derivative at least to a tenth.",
)
CERTAIN_NEAR_ZERO = Threshold(
    1e-6,
    "Where the derivative is zero no relative bound is met, and a millionth in the unit of the scalar is knowledge enough.",
)
