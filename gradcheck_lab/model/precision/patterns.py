"""When a gradient shows an epsilon, a factor per group or the rounding of a narrower dtype."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

SMALL_ERROR = Threshold(
    0.1,
    "An epsilon, or rounding in a narrower dtype, changes a gradient by less than a tenth: a larger error is another formula.",
    mistake="low-precision-probed-float32-inside",
    twin="sound low-precision-probed-float32-inside",
)
VARIES = Threshold(
    1.5,
    "Against values that differ by less than half an error of eps/s is a constant factor as well, and nothing tells the two "
    "apart.",
    mistake="epsilon-mismatch-layer-log",
    twin="sound epsilon-mismatch-layer-log",
)
GROUPS_VARY = Threshold(
    1.2,
    "A line needs points: rows whose spreads differ by less than a fifth fit any line within rounding.",
    mistake="epsilon-mismatch-pair-normalise",
    twin="sound epsilon-mismatch-pair-normalise",
)
SMALL_EPSILON = Threshold(
    1e-2,
    "An epsilon is small against what it is added to: above a hundredth of the typical value the term is part of the formula.",
    mistake="epsilon-mismatch-layer-log",
    twin="sound epsilon-mismatch-layer-log",
)
CANCELLED = Threshold(
    1e-12,
    "A row of which less than a millionth is left beside its multiple of x is rounding, and no share can be read off it.",
)
CLEAR_RESIDUAL = Threshold(
    0.05,
    "A share per row can be read off where the noise is below a twentieth of the residual.",
    mistake="epsilon-mismatch-pair-normalise",
    twin="sound epsilon-mismatch-pair-normalise",
)
THROUGH_ORIGIN = Threshold(
    0.1,
    "1/(1 - share) - 1 is proportional to the variance plus epsilon, so its line passes the origin within a tenth of the "
    "smallest value.",
    mistake="epsilon-mismatch-pair-normalise",
    twin="sound epsilon-mismatch-pair-normalise",
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
    mistake="constant-factor-pair-two-rows-doubled-float32",
    twin="sound constant-factor-pair-two-rows-doubled-float32",
)
SPREAD_EXPLAINED = Threshold(
    0.1,
    "A statistic explains numbers per row when it takes away nine tenths of their spread: ratios that hardly vary fit "
    "everything.",
    mistake="constant-factor-pair-spread-of-rows-float32",
    twin="sound constant-factor-pair-spread-of-rows-float32",
)
CONSTANT_OVER_GROUPS = Threshold(
    1e-9,
    "The product of a ratio and the right statistic is one number to nine digits in float64.",
    mistake="constant-factor-pair-not-quite-the-spread",
    twin="sound constant-factor-pair-not-quite-the-spread",
)
CONSTANT_OVER_GROUPS_ROUNDINGS = Threshold(
    64,
    "In float32 the ratio and the statistic each lose the roundings of a sum, so the product is one number to 64 times what "
    "sound code loses.",
    mistake="constant-factor-pair-spread-of-rows-float32",
    twin="sound constant-factor-pair-spread-of-rows-float32",
)
CONSTANT_OVER_GROUPS_16_BITS = Threshold(
    0.02,
    "In 16 bits a ratio has two digits, so products that agree to a fiftieth are one number.",
    mistake="constant-factor-pair-spread-of-rows-bfloat16",
    twin="sound constant-factor-pair-spread-of-rows-bfloat16",
)
LARGEST_EPSILON = Threshold(
    0.1,
    "An option below a tenth may be an epsilon under a root, a larger one is a weight or a rate.",
    mistake="constant-factor-pair-option-under-a-root",
    twin="sound constant-factor-pair-option-under-a-root",
)
SPREAD_ERROR = Threshold(
    0.7,
    "Rounding touches nearly every element: where fewer than seven in ten err, some elements are wrong and the others right.",
    mistake="low-precision-probed-float32-tanh",
    twin="sound low-precision-probed-float32-tanh",
)
ALIGNED_ERROR = Threshold(
    0.7,
    "Rounding points anywhere: an error with a cosine of more than this to the gradient is a factor.",
    mistake="low-precision-probed-float32-tanh",
    twin="sound low-precision-probed-float32-tanh",
)
ROUNDED_FROM = Threshold(
    1 / 64,
    "A gradient that holds only numbers of a narrower dtype may have been rounded once, at its largest elements, which leaves "
    "down to a 64th of the unit.",
    mistake="low-precision-layer-bfloat16-accumulator",
    twin="sound low-precision-layer-bfloat16-accumulator",
)
ROUNDED_TO = Threshold(
    8,
    "Values of a narrower dtype that err by more than eight of its units were not lost by rounding alone.",
    mistake="low-precision-layer-bfloat16-accumulator",
    twin="sound low-precision-layer-bfloat16-accumulator",
)
LEVEL_FROM = Threshold(
    1 / 8,
    "An error that is spread over full-precision numbers and below an eighth of a dtype's unit cannot come from computing in "
    "it.",
    mistake="low-precision-probed-float32-tanh",
    twin="sound low-precision-probed-float32-tanh",
)
LEVEL_TO = Threshold(
    2,
    "An error of more than twice a dtype's unit, in numbers that are not of it, is a formula that happens to be nearly right.",
    mistake="low-precision-probed-float32-tanh",
    twin="sound low-precision-probed-float32-tanh",
)
SMOOTH_SIGNS = Threshold(
    5,
    "Rounding errors change their sign in half of the steps along a sorted input, a formula's in less than one of five.",
)
OWN_DTYPE_ROUNDINGS = Threshold(
    4,
    "The gradient's own dtype rounds every element, its last operations included: four roundings say nothing of another dtype "
    "inside.",
)
EXACT_POWER = Threshold(
    1e-9,
    "A local derivative in float64 is a product of powers of saved values when the logarithms agree to nine digits, and a "
    "value that varies less shows no power.",
)
