"""When a gradient shows an epsilon, a factor per group or the rounding of a narrower dtype."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

SMALL_ERROR = Threshold(
    0.1,
    "An epsilon, or rounding in a narrower dtype, changes a gradient by less than a tenth: a larger error is another formula.",
)
VARIES = Threshold(
    1.5,
    "Against values that differ by less than half an error of eps/s is a constant factor as well, and nothing tells the two "
    "apart.",
)
GROUPS_VARY = Threshold(
    1.2,
    "A line needs points: rows whose spreads differ by less than a fifth fit any line within rounding.",
)
SMALL_EPSILON = Threshold(
    1e-2,
    "An epsilon is small against what it is added to: above a hundredth of the typical value the term is part of the formula.",
)
CANCELLED = Threshold(
    1e-12,
    "A row of which less than a millionth is left beside its multiple of x is rounding, and no share can be read off it.",
)
CLEAR_RESIDUAL = Threshold(
    0.05,
    "A share per row can be read off where the noise is below a twentieth of the residual.",
)
THROUGH_ORIGIN = Threshold(
    0.1,
    "1/(1 - share) - 1 is proportional to the variance plus epsilon, so its line passes the origin within a tenth of the "
    "smallest value.",
)
ON_A_LINE = Threshold(
    1e-6,
    "Points that a formula makes lie on their line to six digits, even where the noise is below them.",
)
ON_A_LINE_AT_MOST = Threshold(
    0.02,
    "However noisy the residual is, points that leave their line by a fiftieth lie on none.",
)
ONE_NUMBER = Threshold(
    1e-6,
    "Ratios per row are read off several elements each, and equal numbers come out equal to six digits.",
)
SPREAD_EXPLAINED = Threshold(
    0.1,
    "A statistic explains numbers per row when it takes away nine tenths of their spread: ratios that hardly vary fit "
    "everything.",
)
CONSTANT_OVER_GROUPS = Threshold(
    1e-9,
    "The product of a ratio and the right statistic is one number to nine digits in float64.",
)
CONSTANT_OVER_GROUPS_ROUNDINGS = Threshold(
    64,
    "In float32 the ratio and the statistic each lose the roundings of a sum, so the product is one number to 64 times what "
    "sound code loses.",
)
CONSTANT_OVER_GROUPS_16_BITS = Threshold(
    0.02,
    "In 16 bits a ratio has two digits, so products that agree to a fiftieth are one number.",
)
LARGEST_EPSILON = Threshold(
    0.1,
    "An option below a tenth may be an epsilon under a root, a larger one is a weight or a rate.",
)
SPREAD_ERROR = Threshold(
    0.7,
    "Rounding touches nearly every element: where fewer than seven in ten err, some elements are wrong and the others right.",
)
ALIGNED_ERROR = Threshold(
    0.7,
    "Rounding points anywhere: an error with a cosine of more than this to the gradient is a factor.",
)
ROUNDED_FROM = Threshold(
    1 / 64,
    "A gradient that holds only numbers of a narrower dtype may have been rounded once, at its largest elements, which leaves "
    "down to a 64th of the unit.",
)
ROUNDED_TO = Threshold(
    8,
    "Values of a narrower dtype that err by more than eight of its units were not lost by rounding alone.",
)
LEVEL_FROM = Threshold(
    1 / 8,
    "An error that is spread over full-precision numbers and below an eighth of a dtype's unit cannot come from computing in "
    "it.",
)
LEVEL_TO = Threshold(
    2,
    "An error of more than twice a dtype's unit, in numbers that are not of it, is a formula that happens to be nearly right.",
)
SMOOTH_SIGNS = Threshold(
    5,
    "Rounding errors change their sign in half of the steps along a sorted input, a formula's in less than one of five.",
)
