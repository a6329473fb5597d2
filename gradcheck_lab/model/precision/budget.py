"""What the error budget allows: how far a sound gradient may be from the truth, and when two runs count as the same."""

from __future__ import annotations

from gradcheck_lab.model.precision.threshold import Threshold

REFERENCE_ERRORS = Threshold(
    3.0,
    "The few sound references at hand do not show the worst sound error: three times what they show caught 97 to 100 % of "
    "1,660 wrong variants of seven ops and flagged 9 of 315 correct ones.",
    mistake="constant-factor-pair-nearly-one",
    twin="sound constant-factor-pair-nearly-one",
)
OWN_ROUNDINGS = Threshold(
    2,
    "The result is rounded once and its last operation errs by as much again: two units of roundoff of the element itself.",
    mistake="constant-factor-pair-nearly-one",
    twin="sound constant-factor-pair-nearly-one",
)
SLICE_ROUNDINGS = Threshold(
    16,
    "An algebraically rewritten formula, such as y (1 - y) for a derivative, loses up to sixteen roundings of terms as large "
    "as the slice, and a cast to float32 leaves 1e5 times more in float64.",
    mistake="constant-factor-pair-nearly-one",
    twin="sound constant-factor-pair-nearly-one",
)
SLICE_ROUNDINGS_16_BITS = Threshold(
    1,
    "In 16 bits sound implementations accumulate in float32 and round once, so one rounding at the size of the slice is all.",
    mistake="constant-factor-function-bfloat16-kernel",
    twin="sound constant-factor-function-bfloat16-kernel",
)
SCALE_DEVIATIONS = Threshold(
    4,
    "The scale bias of n independent errors varies by their size over sqrt(n), and chance passes four such deviations once in "
    "16,000 gradients.",
)
CANCELLATION = Threshold(
    1e-6,
    "Terms of size 1 that cancel in float32 leave no more than this, so beyond it, times the size of a product of "
    "two numbers of the call and the root of how many may be summed, no noise explains an error and the dearest references are "
    "not worth their price.",
)
NOT_ROUNDING = Threshold(
    1e-3,
    "No rounding of float64 or float32, however ill-conditioned an ordinary call is, changes a gradient by a thousandth: what "
    "does is a mistake or a kink.",
    mistake="outside-subdifferential-pair-small-kink",
    twin="sound outside-subdifferential-pair-small-kink",
)
JUMP = Threshold(
    1e-2,
    "A reference that a simulated rounding moves by a hundredth of the gradient crossed a kink, where the error is everything "
    "at once.",
    mistake="constant-factor-pair-elements-at-their-kinks-float32",
    twin="sound constant-factor-pair-elements-at-their-kinks-float32",
)
CALM = Threshold(
    1e-6,
    "Beside a kink all other elements hardly err, and beside ill-conditioning they err by all amounts: a gap of four decades "
    "tells the two apart.",
)
NOISE_GROWTH = Threshold(
    4,
    "Noise that cancellation left grows with the rounding, sixteen times coarser, by about sixteen, a jump at a kink not at "
    "all: four lies between.",
    mistake="constant-factor-pair-elements-at-their-kinks-float32",
    twin="sound constant-factor-pair-elements-at-their-kinks-float32",
)
COARSE_ORACLE = Threshold(
    16,
    "An oracle that runs in the dtype under test loses as many roundings as a sound backward of that dtype does: those of "
    "SLICE_ROUNDINGS.",
    mistake="constant-factor-function-float32-kernel",
    twin="sound constant-factor-function-float32-kernel",
)
TELLING_ERROR_BOUND = Threshold(
    1e-4,
    "A numeric estimate whose bound is wider than a ten-thousandth of the gradient cannot tell a wrong digit from the method's "
    "own error, so it decides nothing.",
    mistake="constant-factor-pair-number-by-number",
    twin="sound constant-factor-pair-number-by-number",
)
NOTHING_TO_MEASURE = Threshold(
    1e-12,
    "A derivative below this is a zero that differences round: its relative error bound says nothing.",
    mistake="constant-factor-pair-hardly-any-slope",
    twin="sound constant-factor-pair-hardly-any-slope",
)
AS_EXACT = Threshold(
    64,
    "A numeric estimate whose bound is within 64 times what rounding does to the gradient itself decides as well as anything "
    "can: where terms cancel, nobody knows more digits of what is left.",
)
ONE_SIDED_ERROR = Threshold(
    1e-6,
    "One-sided derivatives from differences carry six digits, so a value at the end of their interval counts as within it.",
    mistake="outside-subdifferential-pair-number-by-number-at-its-kink",
    twin="sound outside-subdifferential-pair-number-by-number-at-its-kink",
)
SAME_ROUNDINGS = Threshold(
    64,
    "Two runs of the same code on the same numbers differ by the order of their sums alone, which loses less than 64 roundings "
    "at the size of a slice, and a stride or state that is misread changes whole elements.",
    mistake="input-layout-pair-float32-storage",
    twin="sound input-layout-pair-float32-storage",
)
SAME_ROUNDINGS_16_BITS = Threshold(
    4,
    "In 16 bits two orders of a sum that accumulates in float32 differ by one rounding each, and kernels that do not by a few.",
    mistake="input-layout-pair-bfloat16-storage",
    twin="sound input-layout-pair-bfloat16-storage",
)
LESS_THAN_AGREEMENT = Threshold(
    1e-3,
    "One of two contradicting oracles is sided with when the hand-written gradient is a thousand times nearer to it than to "
    "the other.",
)
CLEARLY_MOVES = Threshold(
    10,
    "An output moves with its inputs when the derivative is ten times its own error bound: less may be the noise of the "
    "forward.",
    mistake="disconnected-plain-detached-in-float32",
    twin="sound disconnected-plain-detached-in-float32",
)
AGREE = Threshold(
    16,
    "Both sides are rounded and neither is the truth: to sixteen roundings at the size of a slice, as SLICE_ROUNDINGS has it, "
    "two gradients agree.",
    mistake="constant-factor-compared-float32",
    twin="sound constant-factor-compared-float32",
)
DIFFER = Threshold(
    1024,
    "Above a thousand roundings no sound pair of implementations is apart, and between AGREE and this nobody can tell rounding "
    "from a mistake.",
    mistake="constant-factor-compared-float32",
    twin="sound constant-factor-compared-float32",
)
AGREE_16_BITS = Threshold(
    2,
    "In 16 bits either side rounds its result once, so two roundings are agreement.",
    mistake="constant-factor-compared-bfloat16",
    twin="sound constant-factor-compared-bfloat16",
)
DIFFER_16_BITS = Threshold(
    16,
    "In 16 bits a sound composite of several rounded steps errs by up to sixteen roundings, beyond it the gradients differ.",
    mistake="constant-factor-compared-bfloat16",
    twin="sound constant-factor-compared-bfloat16",
)
ROUNDINGS_OF_A_STEP = Threshold(
    4,
    "A hand-made gradient takes several operations where autograd takes one, each rounded, and both sides are rounded: four "
    "times what one rounding of every value and gradient does, and the budget allows three times that.",
    mistake="constant-factor-compared-notebook",
    twin="sound constant-factor-compared-notebook",
)
ROUNDINGS_OF_NO_STEP = Threshold(
    16,
    "Where all that a gradient is computed from is known, only a narrow band is left between rounding and a mistake: four "
    "times what ROUNDINGS_OF_A_STEP allows.",
    mistake="constant-factor-compared-notebook",
    twin="sound constant-factor-compared-notebook",
)
