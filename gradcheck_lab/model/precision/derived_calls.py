"""When a problem of a call that the user did not make counts, and what it is called."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

GROSS_ON_DERIVED_CALLS = Threshold(
    10.0,
    "A mistake that only some calls show is gross there: what is within ten times its budget on values that nobody chose is "
    "ill-conditioned.",
    mistake="value-dependent-pair-bfloat16-branch",
    twin="sound value-dependent-pair-bfloat16-branch",
)
LARGE_VALUES = Threshold(
    10,
    "Products of values below ten are of ordinary size, and the budget as it is covers their rounding.",
    mistake="sign-layer-identity-by-squares-float32",
    twin="sound sign-layer-identity-by-squares-float32",
)
AMPLIFIED_ROUNDINGS = Threshold(
    64,
    "A product of two values of size X is off by u X squared, and a sound backward makes a few dozen of such products.",
    mistake="value-dependent-pair-square-of-very-large",
    twin="sound value-dependent-pair-square-of-very-large",
)
INFINITY_IN_WORDS = Threshold(
    1e20,
    "Losses say with 1e30 that something cannot be, and no gradient of an ordinary call comes near: beyond 1e20 a value stands "
    "for infinity.",
    mistake="value-dependent-pair-fourth-power-of-large",
    twin="sound value-dependent-pair-fourth-power-of-large",
)
FORWARDS_APART = Threshold(
    1e-7,
    "At values that nobody chose, forwards in float64 are the same function when they are apart by a ten-millionth of the "
    "largest output: a cut-off where a function has flattened is 1e-9 off, and one that is wrong 1e-6.",
    mistake="forward-mismatch-function-softplus-cut-too-early",
    twin="sound forward-mismatch-function-softplus-cut-too-early",
)
WRONG_ELEMENT = Threshold(
    1e-6,
    "On a derived call an element is wrong when it is off by a millionth of the largest: float32 is right to that, and what is "
    "unwritten or hit twice is off by everything.",
    mistake="unwritten-elements-probed-block-tail",
    twin="sound unwritten-elements-probed-block-tail",
)
ZERO_IN_A_TAIL = Threshold(
    1e-30,
    "Memory that was zeroed holds zero, or what underflowed to less than any gradient.",
    mistake="size-specialised-pair-faint-tail",
    twin="sound size-specialised-pair-faint-tail",
)
MOST_OF_A_TAIL = Threshold(
    0.9,
    "An unwritten tail is wrong nearly throughout: a few of its elements may be right by chance.",
    mistake="unwritten-elements-probed-block-tail",
    twin="sound unwritten-elements-probed-block-tail",
)
MAPPED = Threshold(
    1e-6,
    "A forward maps a new dimension when it gives what the single calls give to six digits, as another order of sums does in "
    "float32.",
)
MAPPED_NEAR_ZERO = Threshold(
    1e-9,
    "Outputs near zero are the single calls' when they are apart by a cancelled sum.",
)
DTYPE_MARGIN = Threshold(
    8.0,
    "Over 16-bit lanes sound composites use up to eight times the budget, as each of their steps is rounded, and an overflow "
    "or a cast far more.",
    mistake="value-dependent-pair-bfloat16-branch",
    twin="sound value-dependent-pair-bfloat16-branch",
)
LAST_DIGITS = Threshold(
    0.02,
    "A gradient that is off by less than a fiftieth of its norm is right but for its last digits.",
    mistake="value-dependent-pair-bfloat16-branch",
    twin="sound value-dependent-pair-bfloat16-branch",
)
GROSS_CHANGE = Threshold(
    0.05,
    "A stride, a state or a cut graph that matters changes a gradient by a twentieth at least, cancelled rounding by less.",
    mistake="input-layout-pair-bfloat16-storage-of-a-third",
    twin="sound input-layout-pair-bfloat16-storage-of-a-third",
)
GROSS_CHANGE_ROUNDINGS = Threshold(
    64,
    "In a dtype whose root of the unit is small, 64 times it is what cancellation can make of rounding: half of the digits.",
    mistake="input-layout-pair-storage-of-a-thousandth",
    twin="sound input-layout-pair-storage-of-a-thousandth",
)
CUT_OFF = Threshold(
    0.05,
    "Clipping or flushing a very large or small upstream changes a twentieth of the gradient, and scaling by a power of two "
    "changes none of a sound one.",
    mistake="not-linear-pair-cut-above-a-million",
    twin="sound not-linear-pair-cut-above-a-million",
)
ADDS_UP_ROUNDINGS = Threshold(
    16,
    "The gradient of a sum of two upstreams is the sum of theirs to sixteen roundings where the root of the unit is below "
    "them.",
    mistake="not-linear-pair-largest-only-bfloat16",
    twin="sound not-linear-pair-largest-only-bfloat16",
)
ADDS_UP_NOISE = Threshold(
    8,
    "What tripling the upstream changes is the gradient's own noise, and the sum of two may be off by eight times it.",
    mistake="not-linear-pair-largest-only-bfloat16",
    twin="sound not-linear-pair-largest-only-bfloat16",
)
DIGITS_OF_UPSTREAM = Threshold(
    1 / 8,
    "The gradient of a sum of two upstreams is that of a backward which rounds them to a narrower dtype where it is off by an "
    "eighth of that dtype's rounding: the largest of a few elements errs by more.",
    mistake="low-precision-pair-upstream-in-half",
    twin="sound low-precision-pair-upstream-in-half",
)
FEWEST_DIGITS = Threshold(
    1 / 32,
    "A backward that rounds upstreams to the fewest digits, the eight of bfloat16, is off by three such roundings of a sum of "
    "two; what is off by more does not add up for another reason.",
    mistake="low-precision-pair-upstream-in-bfloat16",
    twin="sound low-precision-pair-upstream-in-bfloat16",
)
POISONED = Threshold(
    1e4,
    "Memory was read before it was written where 1e30 in it makes an element above 1e4 that was below.",
    mistake="unwritten-elements-pair-trace-of-scratch",
    twin="sound unwritten-elements-pair-trace-of-scratch",
)
TIED_ROUNDINGS = Threshold(
    1e3,
    "Shares of tied values are added up over whole tensors: a thousand roundings of their sizes are rounding, a share given "
    "twice or lost is far more.",
    mistake="tie-mass-function-row-range",
    twin="sound tie-mass-function-row-range",
)
BATCHED_SUM = Threshold(
    8,
    "A batched kernel may add a strided axis term by term: sqrt(terms) roundings by chance, and eight times that at the very "
    "most.",
    mistake="wrong-value-function-vmap-rule",
    twin="sound wrong-value-function-vmap-rule",
)
ZERO_SECOND_ORDER = Threshold(
    1e-9,
    "A second derivative that is this small against the upstream is one whose terms cancelled.",
)
GROWING_ERROR = Threshold(
    0.9,
    "The error of an epsilon grows as the values shrink: a level may fall short of the one before by a tenth, which is noise.",
    mistake="epsilon-mismatch-probed-root-epsilon",
    twin="sound epsilon-mismatch-probed-root-epsilon",
)
ERROR_ABOVE_ROUNDING = Threshold(
    100,
    "Between right and wrong an epsilon's error passes through all sizes: one level has to lie a hundred roundings above none.",
    mistake="epsilon-mismatch-layer-root-float32",
    twin="sound epsilon-mismatch-layer-root-float32",
)
ERROR_GROWTH = Threshold(
    10,
    "Over seven decades of values eps/s grows by far more than ten, and what grows by less is a constant error.",
    mistake="epsilon-mismatch-probed-root-epsilon",
    twin="sound epsilon-mismatch-probed-root-epsilon",
)
