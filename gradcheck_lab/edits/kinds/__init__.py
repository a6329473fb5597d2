"""The kinds of edits: a class each, in one of the files here, and a row in one of these tables.

`MISTAKES` are what people do to a right backward; `MENDS` are what mends a wrong one: some of them are both.
"""

from __future__ import annotations

from gradcheck_lab.edits.kinds.arrangement import AddTranspose, DropTranspose, SwapOperands, SwapReturned
from gradcheck_lab.edits.kinds.conditions import FirstIndex, IgnoreOption, OtherComparison, ShortLoop
from gradcheck_lab.edits.kinds.factors import (
    ChangeSign,
    Double,
    DropEpsilon,
    DropFactor,
    DropPower,
    DropUpstream,
    Halve,
    MultiplyByUpstream,
)
from gradcheck_lab.edits.kinds.kind import Kind
from gradcheck_lab.edits.kinds.memory import (
    Accumulate,
    AddClone,
    Detach,
    DropCopy,
    Overwrite,
    OverwriteIndexed,
    ReturnNone,
    SwapSaved,
    ThroughHalf,
)
from gradcheck_lab.edits.kinds.sums import AddSum, ChangeAxis, DropAxis, DropSum, FlipKeepdim, SumForMean

MISTAKES: tuple[Kind, ...] = (
    DropSum(),
    DropAxis(),
    SumForMean(),
    ChangeAxis(),
    FlipKeepdim(),
    SwapOperands(),
    SwapReturned(),
    DropTranspose(),
    AddTranspose(),
    ChangeSign(),
    DropFactor(),
    DropPower(),
    Double(),
    DropUpstream(),
    DropEpsilon(),
    OtherComparison(),
    FirstIndex(),
    ShortLoop(),
    IgnoreOption(),
    Overwrite(),
    OverwriteIndexed(),
    DropCopy(),
    SwapSaved(),
    Detach(),
    ThroughHalf(),
    ReturnNone(),
)

MENDS: tuple[Kind, ...] = (
    AddSum(),
    SumForMean(),
    ChangeAxis(),
    FlipKeepdim(),
    SwapOperands(),
    SwapReturned(),
    AddTranspose(),
    DropTranspose(),
    ChangeSign(),
    Double(),
    Halve(),
    DropFactor(),
    MultiplyByUpstream(),
    OtherComparison(),
    Accumulate(),
    AddClone(),
    SwapSaved(),
)
