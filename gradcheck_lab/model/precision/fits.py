"""When a gradient counts as a multiple, a rearrangement or a part of something: what a diagnosis may read off the numbers."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

SOUND_ROUNDINGS = Threshold(
    64,
    "A sound implementation of an ordinary op loses less than 64 roundings of the norm, so what a candidate leaves beyond them "
    "is another pattern.",
    mistake="constant-factor-pair-float32",
    twin="sound constant-factor-pair-float32",
)
SOUND_ROUNDINGS_16_BITS = Threshold(
    8,
    "In 16 bits sound implementations accumulate wider and round at a few steps only: eight roundings cover them, and 64 would "
    "be a quarter of the gradient in bfloat16.",
    mistake="constant-factor-pair-bfloat16",
    twin="sound constant-factor-pair-bfloat16",
)
ORACLE_ERRORS = Threshold(
    4,
    "Each element of a numeric oracle is off by its bound at most, gradient and candidate both inherit it, and as much again "
    "is left for the fit.",
    mistake="constant-factor-pair-number-by-number",
    twin="sound constant-factor-pair-number-by-number",
)
MARGINAL_ROUNDINGS = Threshold(
    16,
    "An error within sixteen times what sound code loses is so near to rounding that any pattern found in it is chance.",
    mistake="missing-term-pair-faint-term",
    twin="sound missing-term-pair-faint-term",
)
CONSTANT_ROUNDINGS = Threshold(
    256,
    "A factor read off a whole gradient by least squares is known to a few hundred roundings, and the constants of a call are "
    "farther apart than that.",
)
CONSTANT_ROUNDINGS_16_BITS = Threshold(
    2,
    "In 16 bits a constant is told from its neighbours, such as 1/5 and 1/6 or 31/32 and 1, only if two roundings are all that "
    "is allowed.",
)
SMALL_WHOLE_NUMBER = Threshold(
    10,
    "A whole number below ten is half, twice or the square of some size of a small call by chance, so it is named by itself.",
    mistake="constant-factor-pair-three-of-six-rows",
    twin="sound constant-factor-pair-three-of-six-rows",
)
REAL_FACTOR = Threshold(
    1e-6,
    "A complex factor with an imaginary part of less than a millionth is real but for rounding, and names of constants are "
    "real.",
    mistake="constant-factor-pair-complex64",
    twin="sound constant-factor-pair-complex64",
)
NO_FACTOR = Threshold(
    1e-12,
    "A factor within this of one is no mistake that a double could show in the gradient.",
    mistake="constant-factor-pair-nearly-one",
    twin="sound constant-factor-pair-nearly-one",
)
ERROR_BESIDE_FACTOR = Threshold(
    0.25,
    "Near one any gradient is a multiple of the reference up to rounding: the factor has to explain three quarters of the "
    "error, or it explains nothing.",
    mistake="constant-factor-pair-float32",
    twin="sound constant-factor-pair-float32",
)
ERROR_BESIDE_TENSOR = Threshold(
    0.1,
    "A tensor that hardly varies fits within rounding whatever a number fits: it has to leave ten times less than the best "
    "number does.",
    mistake="wrong-value-pair-extra-factor-float32",
    twin="sound wrong-value-pair-extra-factor-float32",
)
CLEARLY_WRONG = Threshold(
    8,
    "Elements between what rounding makes and eight times that are neither right nor wrong, and a position told by them would "
    "be chance.",
    mistake="constant-factor-pair-two-rows-doubled-float32",
    twin="sound constant-factor-pair-two-rows-doubled-float32",
)
SELDOM = Threshold(
    50.0,
    "A condition is an explanation when random elements would lie so in one of fifty times its rank: the further down the "
    "list, the more it has to tell.",
    mistake="constant-factor-pair-two-rows-doubled-float32",
    twin="sound constant-factor-pair-two-rows-doubled-float32",
)
ENOUGH_ELEMENTS = Threshold(
    6,
    "Of five numbers or fewer some multiple, rearrangement or term fits by chance: the fit has to predict more than it takes.",
    mistake="constant-factor-pair-two-rows-doubled-float32",
    twin="sound constant-factor-pair-two-rows-doubled-float32",
)
CHANCE_DIGITS = Threshold(
    9.0,
    "A fit has to be one that chance gives in less than one of a thousand million calls, as thousands of terms are tried.",
)
VISIBLE_RESIDUAL = Threshold(
    4,
    "An element of a residual is nothing but rounding when it is below four times the noise's root mean square.",
    mistake="missing-term-pair-one-row-left-out-float32",
    twin="sound missing-term-pair-one-row-left-out-float32",
)
DENSE_RESIDUAL = Threshold(
    0.75,
    "A missing term that is computed by rows or columns reaches three of four elements, and what reaches fewer is a matter of "
    "position.",
    mistake="missing-term-pair-one-row-left-out-float32",
    twin="sound missing-term-pair-one-row-left-out-float32",
)
SAME_SPAN = Threshold(
    8,
    "A tensor whose part outside a span, or whose further singular values, are within eight times the noise lies in it, and "
    "then every gradient of the rule fits.",
    mistake="missing-term-pair-one-row-left-out-float32",
    twin="sound missing-term-pair-one-row-left-out-float32",
)
SAME_DIRECTION = Threshold(
    1e-6,
    "A row of the call is the vector of a missing outer product when the cosine between them is one to six digits, as least "
    "squares leaves it.",
    mistake="missing-term-pair-one-row-left-out-float32",
    twin="sound missing-term-pair-one-row-left-out-float32",
)
NAMED_COEFFICIENT = Threshold(
    4,
    "A coefficient is known to about the noise over the size of what was fitted, and counts as the number that it is within "
    "four times that.",
    mistake="missing-term-pair-three-upstreams-float32",
    twin="sound missing-term-pair-three-upstreams-float32",
)
SEPARABLE = Threshold(
    4,
    "What is left of a table when a number per row and one per column are taken away is rounding within four times the noise.",
    mistake="wrong-axis-function-softmax",
    twin="sound wrong-axis-function-softmax",
)
TWO_AXES = Threshold(
    100,
    "The smaller of the two parts has to be a hundred times the noise, or one axis alone explains the error.",
    mistake="wrong-axis-pair-softmax-float32",
    twin="sound wrong-axis-pair-softmax-float32",
)
STEP_ROUNDINGS = Threshold(
    8,
    "A parameter that its layer steps is rounded once, and once more where a decay is added; a fit of both rounds as often.",
    mistake="mutates-input-layer-that-shrinks-its-weights",
    twin="sound mutates-input-layer-that-shrinks-its-weights",
)
