"""How much is looked at: limits of effort, which decide what is tried and no verdict by themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of elements, rows, inputs or tries, and why no more are looked at."""

    value: int
    why: str


BLOCK_ELEMENTS = Limit(
    1 << 14,
    "Elements of a block of a comparison: half a MiB of float64 with its temporaries, which stays in the cache.",
)
DEVICE_BLOCK_ELEMENTS = Limit(
    1 << 22,
    "Elements of a block that is looked at on an accelerator: 32 MiB of float64, four times with its temporaries, and some ten "
    "kernels, whose start would take longer than their work on smaller ones.",
)
ELEMENTS_TO_THE_HOST = Limit(
    1 << 20,
    "Elements of the gradients of one backward that are copied from an accelerator to be compared on the host: 8 MiB of "
    "float64, which takes a millisecond to send, and as many as are drawn for a page.",
)
SLICES_OF_AN_AXIS = Limit(
    1 << 18,
    "Slices that a budget keeps sums for along one axis: 2 MiB each; of a longer axis neighbours share a slice.",
)
TRACED_LINES = Limit(
    1500,
    "Lines that a NumPy forward may run to be traced: torch's compiler takes some 10 ms for each, and as long for each round "
    "of a loop.",
)
FEW_ELEMENTS = Limit(
    16,
    "Elements up to which a gradient is given further samples of simulated rounding: in one element, two samples see nothing "
    "of two terms that cancel once in four times.",
)
FEW_SIZES = Limit(
    3,
    "Sizes of elements from which on two finished gradients that are multiples of one another count as related: rounding that "
    "cancellation leaves has few bits, and two such numbers are multiples of two others by chance.",
)
SAMPLED_WHOLE = Limit(
    1 << 16,
    "Elements of a gradient that is sampled beside kinks whole: twenty samples of it are 10 MiB.",
)
AFFORDABLE_SAMPLES = Limit(
    1 << 12,
    "Elements of a gradient with small slices that further samples of simulated rounding are still made for.",
)
COPIED_ELEMENTS = Limit(
    1 << 20,
    "Elements that an isolated rule is given copies of: beyond 8 MiB it is trusted not to write to them.",
)
COMPARED_FOR_WRITES = Limit(
    1 << 16,
    "Elements of which every value is compared to see a write past torch: a larger tensor's version counter has to do.",
)
ELEMENTS_ONE_BY_ONE = Limit(
    8,
    "Elements of a gradient that are all derived numerically at once: as many evaluations as a few directions cost.",
)
ELEMENTS_ONE_BY_ONE_WHERE_WRONG = Limit(
    256,
    "Elements of a gradient that are all derived numerically once a direction contradicts it: seconds of an ordinary forward.",
)
DIAGNOSED_ELEMENTS = Limit(
    1 << 20,
    "Elements of a gradient that explanations rearrange and compare: each try is a pass over 8 MiB.",
)
REPEATED_GRAPHS = Limit(
    8,
    "Runs of a graph of numbers to see whether the order of a set changes its gradients: one in 256 goes unseen of two orders.",
)
STEP_SAMPLES = Limit(
    24,
    "Numbers on which an operation of a graph of numbers is compared by itself: enough for a pattern, and a millisecond.",
)
GUESSED_FACTORS = Limit(
    8,
    "Factors that are divided out of a gradient to see whether an allowed mistake is all that is left: 2, 1/2 and three sizes.",
)
OVERLAP_ELEMENTS = Limit(
    4096,
    "Elements among which overlapping windows are looked for: in more numbers single values meet sums by chance.",
)
TERM_ELEMENTS = Limit(
    1 << 18,
    "Elements of a gradient that some hundred candidate terms are fitted to, a pass over 2 MiB each.",
)
OUTER_PRODUCT_ELEMENTS = Limit(1 << 15, "Elements of a residual whose singular values are worth their cubic price.")
CANDIDATE_TENSORS = Limit(6, "Tensors of a call that candidate terms are built of: their pairs and triples grow with the cube.")
ROLLED_PLACES = Limit(
    32,
    "Shifts along an axis that a rolled gradient is looked for at: an index is off by one or a window, not by more.",
)
RETAINED_NODES = Limit(
    4000,
    "Nodes of a notebook's graph that are walked: networks have hundreds, and a walk of 4,000 takes milliseconds.",
)
RETAINED_USES = Limit(6, "Uses of a tensor whose subsets are added up: 62 sums, and the sums of more meet by chance.")
NOTEBOOK_ELEMENTS = Limit(
    1 << 22,
    "Elements of all values of a notebook's graph up to which its backward is run again: 32 MiB a pass, and nine passes.",
)
GRAPH_NODES = Limit(
    400,
    "Nodes of a recorded graph that are searched for values that are used several times: in larger ones everything is.",
)
PARTIAL_RUNS = Limit(24, "Backward passes that leave out uses of a value: each costs as much as the one that is explained.")
RERUN_ELEMENTS = Limit(
    1 << 20,
    "Input elements up to which the oracle is run once more for an explanation: beyond 8 MiB a run takes longer than a reader "
    "waits.",
)
LARGE_ELEMENTS = Limit(
    1 << 20,
    "Elements of an input from which on a call is compared in pieces and its copies are counted: 4 MiB of float32, and some "
    "ten float64 copies of it.",
)
PIECE_ELEMENTS = Limit(
    1 << 17,
    "Elements of a piece of a large call: its oracle and samples take some 10 MiB, and a piece takes longer than the calls "
    "that compare it.",
)
EQUAL_CALLS_ALONE = Limit(
    8,
    "Calls of one op with equal shapes that are run alone on a derived call of a program, from the first to the last: in the "
    "call that was given all are, and every intermediate is compared in each.",
)
INPUTS_TOGETHER = Limit(
    16,
    "Inputs that are moved together along one direction where there are more: a call has rarely as many, and the rounding of "
    "sixteen equal gradients hides no more than four times what that of one does.",
)
INPUTS_MOVED_ALONE = Limit(3, "Inputs that are moved alone around a kink, up and down: four runs of the oracle each.")
AIMED_ROUNDS = Limit(
    2,
    "Rounds of points aimed at the elements that are still doubtful: the second sees what the first one decided.",
)
TIED_RANKS = Limit(
    12,
    "Ranks that each of many tied values is given, one run each: windows and rows that tie are rarely longer.",
)
SWEEP_LEVELS = Limit(
    6,
    "Halvings of the step in one stage of a sweep: the table of extrapolations settles within them or not at all.",
)
DIFFERENCE_GROUPS = Limit(
    1024,
    "Groups of output elements that keep a step of their own: more would cost memory, fewer mix kinks with smooth elements.",
)
FORWARDS_OF_LOOKS = Limit(
    1500,
    "Forwards that a probe runs to hold derived calls against numbers: seconds of one that takes a millisecond, and a sound "
    "subject takes some hundred. Beyond them a call is held against one difference, and counted as not compared where that "
    "objects.",
)
OF_OTHERS = Limit(
    64,
    "Elements of the gradient of another input of another shape, which may be a factor of a wrong one: some ten forwards each.",
)
LOCATED_ELEMENTS = Limit(
    16,
    "Wrong elements of a gradient that are located by halving: enough to see a pattern, a few evaluations each.",
)
LANE_ELEMENTS = Limit(16, "Length to which the axes of a call are cut down for other dtypes, index patterns and options.")
LONG_SUM = Limit(8192, "Terms of a long sum: an accumulator in 16 bits stalls at 256 or 2048 times a term.")
LONG_SUMS = Limit(3, "Dimensions of a call that are made long: one call each.")
LONG_SUM_ELEMENTS = Limit(1 << 20, "Elements of a call with a long dimension: they are compared in some ten milliseconds.")
STRESSED_ROWS = Limit(12, "Rows to which a call is cut down for stress values: each kind of values needs one.")
FEW_FACTORS = Limit(3, "Factors of a random mask: zero and one over the share kept, and a third for noise of two strengths.")
MASKS_TRIED = Limit(2, "Masks of a call in which rows are hidden whole: one for queries and one for keys, an examination each.")
BOUNDS_TRIED = Limit(6, "Bounds in the code that values are put beside: two values each, and a function has few more.")
STRESSED_ALONE = Limit(4, "Inputs that get stress values of their own, or alone: an examination for each kind of values.")
TANGENTS_ALONE = Limit(4, "Inputs whose tangent is tried alone: one run each, and rules of more inputs repeat themselves.")
BATCHED_ALONE = Limit(4, "Inputs that are batched alone: one mapped call each, and rules of more inputs repeat themselves.")
FROZEN_PATTERNS = Limit(
    4,
    "Inputs that are required alone and frozen alone: two runs each, and flags of more inputs are handled alike.",
)
OPTION_CHANGES = Limit(6, "Changes of the options that are tried: an examination each, the likeliest to be forgotten first.")
OPTION_CHANGES_IN_CODE = Limit(
    12,
    "Changes of the options to values that the code compares them with, and of pairs that it reads together: an examination "
    "each, and a rule with more branches than these is rare.",
)
FUNCTIONS_READ = Limit(40, "Functions of the user whose source is read: a forward and a backward call some ten.")
POISONED_ELEMENTS = Limit(
    1 << 20,
    "Input elements up to which a backward is run twice more on poisoned memory, whose filling is a pass over it.",
)
LONG_AXIS = Limit(1030, "Length of a dimension that is longer than any usual block of a kernel (1024), and no multiple of one.")
LONG_AXIS_SQUARED = Limit(
    150,
    "The same where a matrix of the dimension with itself arises: longer than 128, and affordable squared.",
)
LONG_CALL_ELEMENTS = Limit(
    1 << 13,
    "Input elements of a call with a long axis: 64 KiB, which an examination of any op takes in a second.",
)
ROW_ELEMENTS = Limit(
    64,
    "Length of the other dimensions of a call of batch 1: what long rows hide is tried by the calls with a long axis.",
)
SIZES_OF_AN_ERROR = Limit(
    3,
    "Calls of other sizes in which a gradient is wrong, after which no more are looked at for it: the first say where it is.",
)
SINGLE_SIZES = Limit(7, "Calls with one dimension alone of another size: an examination each where the forward takes it.")
TRIED_SPLITS = Limit(
    12,
    "Ways to give equal sizes different lengths that are tried: those of three inputs of three axes; most are refused at once.",
)
ACCEPTED_SPLITS = Limit(
    4,
    "Ways to give equal sizes different lengths that the forward takes, after which no more are tried: an examination each.",
)
ARRAYS_TRIED = Limit(16, "Arrays of a layer that are moved to see whether its forward reads them: two forwards each.")
ELEMENTS_OF_A_READING = Limit(24, "Elements of an input that are moved to tell readings of a call apart: two forwards each.")
READINGS_TRIED = Limit(240, "Orders in which the arguments of a backward are tried where no name tells: two backwards each.")
REUSED_BUFFERS = Limit(4, "Further calls that may overwrite a result: buffers are taken in turn, of two or three as a rule.")
OTHER_SIZES_BETWEEN = Limit(2, "Other sizes that one object is called with: what it kept of its first size shows at any other.")
OUTPUTS_ALONE = Limit(4, "Outputs whose upstream is sent alone: one run each, and of more outputs the first show the rule.")
RELATED_PARTS = Limit(
    8,
    "Times that an output's axis may be as long as an input's and still be a multiple of it: pieces and pairs, no chance "
    "ratio.",
)
FILE_BYTES = Limit(
    1 << 22,
    "Bytes of a file of others that are read: a saved case has some thousand, and 4 MiB are read and checked in a second.",
)
NESTED_ENTRIES = Limit(
    32,
    "Levels of lists and tables in a file of others: what is written has six, and a recursion has room for these.",
)
SAVED_ELEMENTS = Limit(
    1 << 24,
    "Elements, with the gaps of their layouts, that the tensors of a saved call may have: 128 MiB of float64.",
)
SAVED_AXES = Limit(32, "Axes of a tensor of a saved call: half of what torch takes everywhere.")
SAVED_INPUTS = Limit(1000, "Tensors of a saved call: a program of a hundred layers has fewer.")
WHOLE_DIGITS = Limit(20, "Digits of a whole number in a file of others: the largest seed, 2**64, has twenty.")
REFUSED_ENTRIES = Limit(5, "Entries that the refusal of a report names: a damaged one may have thousands that do not fit.")
CASES_OF_A_PROCESS = Limit(
    1000,
    "Cases that one worker process of a campaign runs before a new one takes its place: what the user's code and torch keep "
    "grows no further, and a new process costs less than a millisecond a case.",
)
RUNS_OF_A_LOST_CASE = Limit(
    4,
    "Times that a case of a campaign runs whose Ray node is lost: clusters of cheap nodes lose some, and none loses four of "
    "one case unless that case is to blame.",
)
CASES_OF_A_PAGE = Limit(
    300,
    "Reports of a campaign that its page has, failures first: 1.2 MB for as many of torch's operators; files hold the others.",
)
OPEN_CASES_SHOWN = Limit(40, "Cases of a campaign that did not pass and are printed, a line each: one screen; files hold all.")
SHOWN_VALUES = Limit(8, "Inputs of a call that a message lists with dtype and shape: two lines of a terminal hold them.")
LISTED_NAMES = Limit(4, "Objects that the last line of a command names: with their files, two lines of a terminal hold them.")
QUOTED_CHARACTERS = Limit(
    160,
    "Characters of a value of others that a message quotes: a path or a name fits, and two lines of a terminal hold it.",
)
NAMED_CHARACTERS = Limit(100, "Characters of a name of the user in the name of a file, of which systems take 255.")
VARIED_RUNS = Limit(
    400,
    "Backward passes with one thing changed in them: of the forwards of single ops all are tried, in some tenths of a second.",
)
NAMED_VALUES = Limit(40, "Intermediate values of a forward that are named: one line of code makes a few, a function some tens.")
DIAGONAL_ELEMENTS = Limit(
    64,
    "Elements of the diagonal of a Jacobian that are computed, a backward pass each: as many equal ones are no chance.",
)
HELD_LINES = Limit(
    2000,
    "Lines of a backward after which each variable is looked at: loops over steps have some hundreds, at 20 us a line.",
)
HELD_VALUES = Limit(200, "Values of one variable that are kept: a loop of more steps would hold too much memory.")
NESTED_NAMES = Limit(3, "Calls within one another in the name of a value: more of them no reader follows in a sentence.")
READ_LINES = Limit(5000, "Lines of a file whose functions are read to say what of them did not run: some 50 ms for more.")
WATCHED_ELEMENTS = Limit(
    1 << 20,
    "Elements of a condition up to which it is seen which of its sides they take: the call itself compares as many again.",
)
SHOWN_LINES = Limit(60, "Lines of a backward that a finding shows: two screens; of a longer one those around the blamed.")
PICTURED_ELEMENTS = Limit(1 << 20, "Elements of a gradient that is drawn: the errors of a larger one take 8 MiB and more.")
PICTURED_CELLS_OF_A_SIDE = Limit(32, "Rows and columns of a grid that a page draws: a phone shows as many that a finger hits.")
PICTURED_SLICES = Limit(8, "Slices of a gradient of many axes that a page draws: the worst, and some at even distances.")
PICTURED_CELLS = Limit(10_000, "Cells that all grids of a report have: 0.3 MB, of a page's one; wrong gradients come first.")
PAGE_ROWS = Limit(
    200,
    "Gradients of a report that a page shows before it is asked for the others: a browser lays out 2,000 in a second.",
)
PRINTED_GRADIENTS = Limit(24, "Gradients of which a terminal shows a row: what is wrong stays in sight above them.")
PLACES_NOT_RUN = Limit(3, "Places of lines that did not run that the printed report names; a page and JSON have all.")
MISSING_SIDES = Limit(6, "Sides of conditions that no element took for which calls are derived: a function has few more.")
TRIES_FOR_A_SIDE = Limit(8, "Forwards and backwards that look for values on a missing side: shifts and scales of each input.")
UNKNOWN_CONDITIONS = Limit(3, "Runs after which a condition of unknown values is followed no more: each costs time.")
LITERAL_ELEMENTS = Limit(64, "Elements of a tensor that the line of a failure writes out: some lines of a terminal.")
DRAWN_ELEMENTS = Limit(
    1 << 16,
    "Elements of inputs too large to write out that are drawn anew and checked, to see that they fail alike: some tenths of a "
    "second; larger ones are drawn anew untried, and the line says so.",
)
TRACEBACK_FRAMES = Limit(6, "Lines of a traceback that the printed report has: the innermost; a page and JSON have all.")
TRIED_DEFAULTS = Limit(4, "Different defaults of forward and backward that a failing call is examined again with made equal.")
MESSAGE_OF_A_WORKER = Limit(
    1 << 30,
    "Bytes of an answer that is read from a candidate's process: 1 GiB, which is eight times the largest tensor of the one "
    "large call, and little enough for this process to hold.",
)
JUDGED_ELEMENTS = Limit(
    1 << 16,
    "Elements of a drawn call that a candidate is judged on: many calls of this size take less than a second, and one call "
    "is larger.",
)
LARGE_CALL_ELEMENTS = Limit(
    1 << 18,
    "Elements of the one large call that a candidate is judged on: beyond every block of a kernel, and its truth in float64 "
    "still takes less than a second.",
)
TRIES_OF_A_DRAW = Limit(
    20,
    "Draws for each call that a candidate is judged on: a reference that takes fewer than one of twenty has other specs.",
)
LARGE_INTERMEDIATE = Limit(
    1 << 20,
    "Elements of a tensor within a call from which on no larger call is drawn for a candidate: with sizes that double in each "
    "of four dimensions the next has 16 times as many, which is 128 MiB.",
)
TRACED_ELEMENTS = Limit(
    1 << 24,
    "Elements of gradients that are kept of one check to be compared with those of a mutant: 128 MiB of float64.",
)
DIFFERING_CALLS = Limit(
    6,
    "Calls with other gradients than the original's that an oracle decides about: they differ in kind, and each is a check.",
)
FURTHER_SEEDS = Limit(
    2,
    "Further seeds with which a mutant that no check noticed is compared with the original: each draws other derived calls.",
)
INJECTED_GRADIENTS = Limit(
    16,
    "Gradients of one rule that are perturbed, one at a time: rules have fewer inputs, and each is five runs of its tests.",
)
FIRST_EDITS_OF_PAIRS = Limit(
    20,
    "Single edits, those that mend most first, to which a second one is tried: some hundred runs of the call each.",
)
STEPS_OF_AN_EXPRESSION = Limit(24, "Steps of a forward whose gradient is written as one line: a longer line no reader follows.")
CHARACTERS_OF_AN_EXPRESSION = Limit(240, "Characters of such a line: two lines of a wide terminal.")
MORE_VERIFIED = Limit(2, "Mends beyond those asked for that are verified where the first are for some sizes only.")
CALLS_KEPT_BY_A_RANK = Limit(
    32,
    "Calls whose backward a rank can still run: a probe has some ten in hand, and each holds what its forward saved.",
)
RANKS = Limit(64, "Ranks that a check starts: each is a process that holds torch, some 100 MiB of it its own.")
ORDERED_RANKS = Limit(4, "Ranks up to which a gradient is held against every order of its parts: of four there are 24.")
FORWARDS_KEPT = Limit(
    2048,
    "Forwards of ranks that are kept by their inputs: some ms each to run again, and small where many are asked for.",
)
COMPILED_SIZES = Limit(
    2,
    "Other sizes that a compiled call is run at: the first makes sizes dynamic, the second shows what stayed as it was.",
)
COMPILER_REASONS = Limit(
    3,
    "Reasons for graph breaks, and guards that failed, that are told of one call: further ones mostly follow from the first.",
)
GUARD_BYTES = Limit(
    1 << 20,
    "Bytes of address space before and behind each tensor that an interpreted kernel is handed: an address that is further off "
    "belongs to no tensor. They are never written to, and take no memory.",
)
ACCESSES_IN_ANOTHER_ORDER = Limit(
    20,
    "How many times as many accesses as in the usual order a program of a kernel may make in another: one that waits for a "
    "program that has not run yet would wait for ever.",
)
FEW_ACCESSES = Limit(1000, "Accesses that any program of a kernel may make in any order: a second of an interpreted one.")
KERNEL_BLOCK = Limit(
    64,
    "Largest constant of a kernel around which sizes are chosen: a program over a longer block takes no longer, but "
    "its tensors do where a number is derived for each element.",
)
KERNEL_CALLS = Limit(
    6,
    "Calls of other sizes on which an interpreted kernel's memory and order are watched: each is five runs of some 0.1 s.",
)
KERNEL_CALL_ELEMENTS = Limit(1 << 13, "Elements of the inputs of such a call: a program for each row of them takes a minute.")
SIZES_BESIDE_BLOCKS = Limit(
    3,
    "Calls with a dimension beside a kernel's block whose gradients are compared, those that are one longer first: each is run "
    "some ten times to derive it by numbers.",
)
DRAWN_EXAMPLES = Limit(100, "Calls that the command fuzz draws for each object where nobody says: a few seconds of most.")
INTERPRETED_EXAMPLES = Limit(
    20,
    "The same of interpreted kernels, of which each call with what is derived from it is some hundred launches: a minute.",
)
INTERPRETED_SIZES = Limit(
    9,
    "Largest size of a dimension of a drawn call that launches interpreted kernels: two of them are 81 elements, and a program "
    "for each of them takes a second.",
)
