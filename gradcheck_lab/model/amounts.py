"""Numbers that methods run with: steps, moves, fillings, values that are tried. They decide nothing by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Amount(Generic[Value]):
    """A number or several, and why it is these."""

    value: Value
    why: str


SWEEP_GOAL_OF_A_STAGE = Amount(
    0.01 * 1e-9,
    "Relative error of every group at which a stage stops halving: a hundredth of the sweep's goal, as groups add up.",
)
SWEEP_GOAL = Amount(1e-9, "Relative error of a numeric derivative at which a sweep stops: no comparison asks for more.")
SMALLEST_DIVISOR = Amount(1e-300, "Stands in for zero under a division whose result is not used there.")
COARSER_ROUNDING = Amount(
    16,
    "How much coarser the rounding is made to see whether an error grows with it: four bits, and still far from the size of "
    "the values.",
)
BESIDE_THE_CALL = Amount(
    1e-3,
    "How far, relatively, inputs are moved to a point where nothing ties: far from a kink for differences, near for the "
    "function.",
)
TINY_UPSTREAM = Amount(
    2.0**-100,
    "The upstream gradient by which a layer steps its parameters too little to be seen, at a rate of 2**20 too, and which "
    "float32 holds.",
)
SMALLER_VALUES = Amount(
    1 / 8,
    "How much smaller values are made to see whether a size or the values are to blame: sums over 64 times as many elements.",
)
BESIDE_ZERO_BY = Amount(
    (1e-12, 1e-9, 1e-6, 1e-3),
    "How far zeros are moved to see whether a gradient there is that of an iteration which ran out: a root of as many rounds.",
)
BESIDE_ZERO = Amount(1e-2, "The size that a smaller element counts as having when it is moved beside the call.")
SHOWN_AS_DIFFERENCE = Amount(1e-3, "A factor this near to one is shown as one and a difference: six digits would hide it.")
SHOWN_IN_FULL = Amount(1e-4, "A factor of a forward-mode rule this near to one is shown with twelve digits: six would hide it.")
POWERS = Amount((1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0), "Powers of a tensor of the call that rules forget or add.")
STATISTIC_POWERS = Amount(
    (1.0, -1.0, 2.0, -2.0),
    "Powers of a number per row, such as a norm or a spread, that rules forget or add.",
)
USUAL_EPSILONS = Amount(
    (1e-3, 1e-5, 1e-6, 1e-8, 1e-12),
    "Epsilons that layers add under a root when the call does not say which.",
)
GELU_CUBE = Amount(0.044715, "The coefficient of the cube in the approximation of gelu by a hyperbolic tangent, as published.")
GELU_SLOPE = Amount(1.702, "The slope of the sigmoid in the quick approximation of gelu, x sigmoid(1.702 x), as published.")
LABELS_LOST = Amount(
    (-100, -1, 255),
    "Labels that losses ignore by convention: torch's, a padding, and the border of segmentation data.",
)
KINK_RADIUS = Amount(
    1e-8,
    "How far nearby points are, relatively, for float64 inputs: far above their rounding, far below ordinary distances to a "
    "kink.",
)
KINK_RADIUS_NARROW = Amount(1e-6, "The same for float32 and 16-bit inputs, whose rounding moves a kink.")
KINK_RADIUS_CLOSER = Amount(
    64,
    "How much closer the second set of points is: six bits, in which a slope's change shrinks and a kink's does not.",
)
SMALLEST_MOVED_SIZE = Amount(
    1e-2,
    "The part of the largest element that zeros count as having when values are moved by a part of their size.",
)
LARGEST_MOVED_SIZE = Amount(
    1e2,
    "The size that a larger element counts as having when it is moved: a part of more would be no small step.",
)
RAMP_START = Amount(
    1.5,
    "Where ramps of steps begin, which end at half: no step is zero, and no two equal elements get the same.",
)
STEP_PER_VALUE = Amount(
    0.1,
    "By how much steps grow from value to value or input to input, so that equal ones of two are told apart.",
)
RAMP_PER_INPUT = Amount(0.2, "By how much a ramp is steeper for each further input.")
STEP_PER_INPUT = Amount(0.05, "By how much a ramp lies higher for each further input.")
SHORTER_WAY_BACK = Amount(
    -0.7,
    "Steps back are shorter than steps forth, or an even function would look the same on both sides.",
)
COMPLEX_STEP = Amount(2.0**-80, "The imaginary step: its square vanishes beside any double, and dividing by it loses nothing.")
STEP_MANTISSA = Amount(
    37 / 64,
    "Mantissa of the steps of differences: few bits, so that steps are exact, and no power of two, so that they fit no period.",
)
LOOK_STEP = Amount(37 / 64 * 2.0**-19, "The step of the guard's one central difference: near the cube root of the roundoff.")
SECOND_ORDER_DISTANCE = Amount(
    2.0**-6,
    "How far, relatively, inputs are moved to leave ties and kinks before second derivatives are compared.",
)
SECOND_ORDER_TINY_DISTANCE = Amount(
    2.0**-26,
    "The root of the roundoff: a second derivative that changes over it has a kink there.",
)
STEADY_DISTANCE = Amount(1e-9, "How far stress values are moved to see that the derivative is the same beside them.")
ROUNDING_SAMPLES = Amount((1, 2), "The salts of the two samples of simulated rounding that stand for sound implementations.")
FURTHER_SAMPLES = Amount((3, 4, 5, 6, 7, 8), "The salts of further samples, for gradients of few elements.")
FURTHER_DRAWS = Amount(
    2,
    "Independent draws of a derived call of which one has to show an error again: what a single draw shows may be its numbers.",
)
OWN_NOISE_SAMPLES = Amount(
    16,
    "Runs of a backward beside its call that tell its rounding: where it leaves the same step in every other one, all but one "
    "of them do so by chance in one call of four thousand.",
)
LAST_DIGITS_MOVED = Amount(
    2,
    "By how many roundings inputs are moved to see another rounding of the same terms: a digit or two.",
)
ALL_TOGETHER = Amount(
    1e-9,
    "How far all values are moved together, times the largest, so that ties stay ties and only kinks of single values show.",
)
LONG_NUMBERS = Amount(1e-3, "By how much an upstream is changed at random so that no narrower dtype holds its numbers.")
TIES_APART = Amount(1e-3, "By how much repeated values are told apart.")
ONE_SIDE = Amount(
    1e-3,
    "How far, relatively, an element is moved to either side to see a branch that is not selected, and the least size that "
    "counts.",
)
POISON = Amount(1e30, "What uninitialised memory is filled with after NaN: larger than any result, and finite in float32.")
SHRINKING_SCALES = Amount(
    (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8),
    "Sizes of values at which an epsilon's share of the error is followed.",
)
MILDER_DISTANCES = Amount(
    (10.0, 3.0, 1.0, 0.3),
    "How far from zero the values are moved where an error of large values is sought while it is still small.",
)
OTHER_OPTIONS_FOR_ZERO = Amount((0.25, 1.0), "Values that an option of 0.0 is changed to: a weight within (0, 1) and its end.")
OPTIONS_FOR_NONE = Amount((0.5, 1), "Numbers that an option of None is given: a factor or an epsilon, and a count or an axis.")
BATCH_FACTORS = Amount(
    (1.0, -0.5, 0.75),
    "Factors of the upstream in the calls of a batch: different, of both signs, and exact in every dtype.",
)
PICKED_JITTER = Amount(0.2, "Width of the random factors that tell values picked from an input apart; their sizes stay alike.")
BATCH_JITTER = Amount(0.2, "By how much the inputs of a batch's calls differ, so that mixing them shows.")
SIZE_CYCLES = Amount(
    ((3, 5, 2, 7), (17, 3, 5, 2), (2, 33, 9, 3), (33, 2, 3, 5), (4, 4, 4, 4), (1, 1, 1, 1)),
    "Sizes that dimensions are given in turn: odd and even, above 16 and 32, all equal, all one.",
)
SIZES_OF_ONE_DIMENSION = Amount(((3,), (17,), (33,), (9,), (1,)), "The same for a call of one dimension.")
SIZES_FOR_ONE = Amount(
    (2, 3, 5, 7, 11, 13),
    "Sizes that axes of size 1 are given, of which those are taken that occur nowhere else in the call.",
)
ALIGNED_SALT = Amount(1, "The salt of tangents that have the signs of the gradient, so that nothing cancels.")
END_OF_AN_AXIS = Amount(1 << 62, "Where a slice without an end stops.")
SAME_EPSILON = Amount(
    0.05,
    "An epsilon read off two calls is the same within half of its second digit: the fit leaves out its square.",
)
SEED_OF_FURTHER_DRAWS = Amount(
    7919,
    "Added to the seed of a call for the draws on which an explanation has to hold too: any number that no probe adds.",
)
NOTEBOOK_SAMPLES = Amount(
    8,
    "Times that a notebook's backward is run again with roundings at random: that all eight leave an element alone, where "
    "rounding moves it, is no chance.",
)
NOTEBOOK_MOVE = Amount(
    2.0**-30,
    "By how much values are moved at least, relatively, to see what rounding does: far above the roundings of float64 that "
    "this is computed in, and near enough for what is done with them to be linear.",
)
BEYOND_A_BOUND = Amount(
    1.5,
    "How many times their bound values of a usual size become, to take a side of a condition that no element took: most are "
    "beyond it then, and few beyond the next.",
)
SHARE_BEYOND = Amount(0.1, "How far the middle of values is moved beyond a bound, as a share of their range: half are beyond.")
LARGE_VALUES = Amount(50.0, "From where on values beyond a bound may overflow in a backward: exp(89) is the last in float32.")
HIDDEN_BELOW = Amount(-1e3, "From where on a number that is added to scores hides them: e to it is 0 in every dtype.")
BOUNDS_IN_CODE = Amount(
    (1e-3, 30.0),
    "Sizes of bounds in code that values are put beside: smaller numbers are epsilons, and larger ones counts.",
)
SOLVING_STEPS = Amount(8, "Steps of Newton's method that find where an output is what the input is: each doubles the digits.")
LARGE_OPTION = Amount(8, "An integer option above this is a length or a number of steps, and no exponent, axis or stride.")
CALLS_JUDGED_AGAIN = Amount(
    4,
    "Calls of each dtype that a candidate is judged on again at other addresses, and again in a fresh process: an answer that "
    "depends on where or when it is asked for is wrong in the first of them.",
)
SECONDS_BEFORE_READING_AGAIN = Amount(
    0.1,
    "Seconds after which what a candidate returned is read once more: a thread that still writes has run by then.",
)
LARGEST_EPSILON = Amount(1e-3, "A number up to this that is added or bounds from below keeps a denominator away from zero.")
INJECTED_SCALE = Amount(
    1.01,
    "A gradient that is a hundredth too large is wrong in every dtype, and tests with the tolerances of 16 bits pass it.",
)
CLOSE_TO_THE_TRUTH = Amount(
    (1e-8, 1e-3, 0.1),
    "Relative error up to which a gradient passes for right while edits are tried, in float64, float32 and 16 bits: some "
    "thousand roundings, and what is wrong by less is found by the full check, which every suggestion has to pass.",
)
SECONDS_OF_A_TRIAL = Amount(
    (2.0, 50.0),
    "Seconds that one run of an edited backward may take, at least, and how many times those of the first run: what takes "
    "longer is a loop that does not end.",
)
DRAWN_FOR_A_SUGGESTION = Amount(20, "Calls that are drawn from specs for a mend that passed two full checks: a second or two.")
SHARE_OF_EDITS = Amount(0.8, "Of the seconds of a search what edits may take: in the rest an expression is derived and tried.")
PRODUCT_SIDE = Amount(
    256,
    "The side of a product of matrices that shows how a device rounds: smaller ones are computed by kernels of their own.",
)
