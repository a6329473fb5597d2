"""Every cause in one table: what `Finding.cause` may say and `allow=` may name. A new cause is one row."""

from __future__ import annotations

from functools import cache
from typing import get_args

from gradcheck_lab.model.findings import Severity
from gradcheck_lab.model.traits import Cause, Trait


def _row(
    name: str, sentence: str, fix: str, traits: str = "", compared: str = "", probed: str = "", severity: Severity = "error"
) -> Cause:
    known: dict[str, Trait] = {trait: trait for trait in get_args(Trait)}
    named = frozenset(known[trait] for trait in traits.split())
    return Cause(name, sentence, fix, named, severity, frozenset(compared.split()), frozenset(probed.split()))


# fmt: off
_ROWS = (
    _row("forward-mismatch", "the forward is another function than the reference", "make the two forwards agree first",
         "whole_call forward keeps_name never_rounding sure_at_kinks"),
    _row("raises", "the user's code raised", "look at the traceback of the finding",
         "no_result fix_by_call never_rounding sure_at_kinks"),
    _row("crashed", "the user's code ended its process",
         "raise an exception instead; python -X faulthandler shows where it ends",
         "no_result ends_process never_rounding sure_at_kinks"),
    _row("timed-out", "the user's code took longer than it may",
         "look for a loop that does not end on this call, or allow more time",
         "no_result ends_process never_rounding sure_at_kinks"),
    _row("memory-exceeded", "the user's code took more memory than it may",
         "look for a tensor or a list that grows faster than the inputs, or allow more",
         "no_result ends_process never_rounding sure_at_kinks"),
    _row("device-lost", "a kernel of the user's code ended the context of its device, which runs nothing any more",
         "look for an index beyond its tensor on the line that launched the kernel; compute-sanitizer names the access",
         "no_result ends_process never_rounding sure_at_kinks"),
    _row("gradient-count", "backward returned another number of gradients than there are inputs",
         "return one gradient per input, in order, None where not differentiable", "arity never_rounding sure_at_kinks"),
    _row("missing-gradient", "an input that the output depends on receives no gradient",
         "return its gradient, or mark the output non-differentiable", "never_rounding sure_at_kinks"),
    _row("missing-broadcast-sum", "the gradient is not summed over the axes that the forward broadcast",
         "sum it over these axes", "shape keeps_name never_rounding sure_at_kinks"),
    _row("wrong-shape", "the gradient has another shape than its input", "return a tensor of the input's shape",
         "shape never_rounding sure_at_kinks"),
    _row("wrong-dtype", "the gradient has another dtype than its input",
         "make every tensor of the backward in the dtype of the inputs", "dtype never_rounding sure_at_kinks"),
    _row("non-finite", "the gradient is NaN or inf where the true one is finite",
         "guard the division, logarithm or root there, as the forward does",
         "at_values says_only_where fix_by_call never_rounding"),
    _row("masked-branch", "NaN or inf comes from a branch that the forward did not select",
         "replace the argument of the branch that is not selected by a harmless value before the formula", "explains at_values",
         compared="non-finite"),
    _row("upstream-ignored", "backward does not use grad_output", "multiply what it returns by grad_output",
         "explains overrules"),
    _row("upstream-scalarized", "one number made of grad_output stands for all of its elements",
         "multiply by grad_output itself, broadcast as the output is", "explains overrules",
         probed="value-dependent",
         compared="wrong-value value-dependent constant-factor missing-term missing-factor wrong-operand"),
    _row("not-linear", "backward is not linear in grad_output", "use grad_output as a plain factor, once",
         "explains overrules"),
    _row("output-gradient-dropped", "the upstream of one output has no effect",
         "add the part of that output, or mark it non-differentiable", "explains overrules foreseen",
         compared="zero-gradient missing-gradient fan-out-overwritten missing-term"),
    _row("undefined-upstream", "backward does not expect None for the upstream of an unused output",
         "treat a grad_output of None as zero", "explains of_later_calls"),
    _row("upstream-layout", "backward is wrong for a grad_output that is not contiguous",
         "call grad_output.contiguous() first, or index it by its strides"),
    _row("input-layout", "the gradient is wrong for inputs that are not contiguous",
         "call contiguous() on the inputs first, or index them by their strides"),
    _row("mutates-grad-output", "backward writes to its grad_output", "write to a new tensor, or to a clone", "whole_call"),
    _row("mutates-input", "the call writes to an input", "write to a new tensor, or to a clone", "whole_call changes_the_call"),
    _row("mutates-saved", "backward overwrites what forward saved", "compute on a clone of what forward saved",
         "explains overrules", probed="stale-state not-linear"),
    _row("stale-state", "what one call keeps is taken for that of another call",
         "keep it per call (ctx.save_for_backward, or the op's inputs and output)", "explains overrules of_later_calls",
         probed="value-dependent overflow non-finite masked-branch outside-subdifferential"),
    _row("accumulates-across-calls", "the gradient adds up from call to call",
         "start each backward from zeros, or assign where it says +=", "explains overrules of_later_calls",
         probed="stale-state reused-buffer"),
    _row("reused-buffer", "what a call returned is a buffer that the next call overwrites",
         "return a new tensor, or a clone of the buffer",
         probed="not-linear input-layout upstream-layout stale-state missing-broadcast-sum wrong-shape size-specialised "
                "value-dependent"),
    _row("nondeterministic", "the same call gives another gradient when it is repeated",
         "save the random numbers that forward drew, and write to every element of new buffers", "explains overrules",
         probed="not-linear input-layout upstream-layout"),
    _row("unwritten-elements", "part of the gradient is never written", "write every element, the last and partial block too",
         "explains overrules size",
         compared="non-finite masked-branch zero-gradient overflow outside-subdifferential sign",
         probed="stale-state not-linear input-layout upstream-layout nondeterministic accumulates-across-calls mutates-saved "
                "reused-buffer value-dependent size-specialised"),
    _row("out-of-bounds", "a kernel reads or writes beyond a tensor that it is given",
         "mask every load and store by the sizes of the tensor, and hand the kernel its strides", "explains overrules size",
         compared="non-finite masked-branch zero-gradient overflow",
         probed="size-specialised nondeterministic value-dependent not-linear input-layout upstream-layout stale-state "
                "unwritten-elements non-finite overflow mutates-saved accumulates-across-calls"),
    _row("aliased-inputs", "one tensor passed in two places loses a term",
         "return one gradient per input, however the inputs are shared"),
    _row("fan-out-overwritten", "a value is used several times and the gradient of one use alone arrives",
         "add up the gradients of all uses", "pattern"),
    _row("duplicate-index", "a repeated index overwrites what it should add to",
         "add what repeated indices send, as index_add and index_put(accumulate=True) do", "explains seen_by_running"),
    _row("needs-input-grad", "the gradient is wrong when other inputs require none",
         "decide by ctx.needs_input_grad[i] for input i alone"),
    _row("sign", "the gradient, or one term of it, has the other sign", "negate it"),
    _row("constant-factor", "the gradient is a multiple of the true one",
         "look for a factor that is missing or misplaced, such as a size", "pattern"),
    _row("transposed", "the gradient is transposed", "transpose it back"),
    _row("permuted", "the gradient has the right numbers in another order", "check the index or flip that writes it",
         "pattern"),
    _row("slots-swapped", "the gradient of one input is returned for another",
         "return the gradients in the order of the inputs", "of_gradients"),
    _row("wrong-axis", "the gradient is reduced or restored along another axis than the forward's",
         "take the axis that the forward takes"),
    _row("zero-gradient", "the gradient is zero and the true one is not",
         "return the derivative, or mark the output non-differentiable"),
    _row("missing-term", "a term of the gradient is left out", "add the term that the finding names", "pattern"),
    _row("missing-factor", "a factor that depends on the inputs is left out of the gradient",
         "multiply by the factor that is left out", "pattern"),
    _row("wrong-operand", "another tensor, or its transpose, stands in a product of the gradient",
         "put the tensor there that the derivative has", "pattern"),
    _row("outside-subdifferential", "at a kink the gradient is outside the one-sided derivatives",
         "return a value between the one-sided derivatives", "ties sure_at_kinks"),
    _row("tie-mass", "the gradients of tied values do not add up to that of all of them",
         "give one of the tied values the whole gradient, or divide it among them by their number", "ties at_values",
         compared="convention outside-subdifferential wrong-value constant-factor zero-gradient"),
    _row("low-precision", "the gradient has lost more digits than its dtype explains",
         "compute in the dtype of the inputs or wider throughout", "pattern consequence dtype digits",
         probed="value-dependent size-specialised"),
    _row("overflow", "an intermediate of the backward overflows where the forward is finite",
         "use a form that is stable for large values: shift by the maximum, or write it with the output",
         "consequence at_values"),
    _row("epsilon-mismatch", "backward has an epsilon that the forward has not, or the reverse",
         "use the same epsilon, in the same place, in forward and backward", "pattern consequence at_values",
         probed="tie-mass value-dependent low-precision size-specialised"),
    _row("default-mismatch", "forward and backward take different defaults of one option",
         "give both the same default, or pass the option from one to the other", "",
         probed="option-specialised epsilon-mismatch tie-mass value-dependent low-precision size-specialised"),
    _row("value-dependent", "the gradient is right for some values and wrong for others",
         "derive the rule again for these values, or treat them as a case of their own",
         "unexplained consequence at_values says_only_where"),
    _row("size-specialised", "the gradient is right at the given sizes and wrong at others",
         "take sizes and axes from the inputs; count axes from the last one", "consequence size"),
    _row("option-specialised", "backward does not follow an option of the forward",
         "use the option in the backward as the forward does", "explains consequence"),
    _row("random-replay", "backward draws other random numbers than the forward did",
         "save the mask, or the generator's state, in the forward", "explains overrules",
         probed="not-linear input-layout upstream-layout nondeterministic mutates-saved stale-state option-specialised "
                "value-dependent size-specialised"),
    _row("mode-mismatch", "the gradient is right in train() and wrong in eval(), or the reverse",
         "look at the mode in the backward as the forward does", "explains"),
    _row("double-backward", "the second derivative is wrong or silently missing",
         "save inputs and outputs rather than intermediates, or add @once_differentiable"),
    _row("compiled-mismatch", "under torch.compile the call gives another result than uncompiled",
         "compute the same whether it is compiled or not: from tensors, with no state of Python that changes between calls",
         ""),
    _row("missing-conjugate", "a complex factor is not conjugated", "conjugate the factor in the backward", "explains"),
    _row("disconnected", "the hand-written backward is never run",
         "look for detach, .data, .item(), .numpy() or no_grad in the forward", "whole_call"),
    _row("forbidden-op", "a judged candidate calls an operator that its task forbids",
         "compute it with what the task allows", "whole_call never_rounding sure_at_kinks"),
    _row("tampered", "what a judged candidate answers does not come from the call",
         "return new ordinary tensors, computed before the call returns and never written to afterwards",
         "whole_call never_rounding sure_at_kinks"),
    _row("missing-reduction", "each rank has its own term of what has to be summed over the ranks",
         "all-reduce it, or reduce and scatter it where each rank holds a part"),
    _row("reduced-twice", "what is equal on all ranks is summed over them, once too often",
         "reduce in one place: where the ranks hold terms, and not where they hold the sum"),
    _row("rank-order", "the parts of the ranks are joined or cut in another order than that of the ranks",
         "cut and join in the order of the ranks, along the dimension that the forward takes"),
    _row("ranks-disagree", "the ranks give one tensor several values",
         "let every rank compute it of the same numbers, or say that they hold parts of it or terms"),
    _row("wrong-value", "the gradient is wrong and no known mistake explains it",
         "derive the rule again for the worst element, or check a smaller input",
         "unexplained consequence says_only_where fix_by_call"),
    _row("compiled", "what torch.compile said of the call: graph breaks, further compilations, and what it cost",
         "nothing to do where this is as wanted", severity="note"),
    _row("convention", "at a kink or tie the gradient is another one than autograd's, and as right", "nothing to do",
         "admitted", severity="note"),
    _row("discontinuous", "the forward jumps at the inputs, where no derivative is defined", "check at other inputs",
         severity="note"),
    _row("engine-reduced", "torch's engine sums or casts the gradient to the right value", "sum it over these axes",
         severity="note"),
    _row("oracle-disagrees", "the oracles contradict each other", "pass reference=, the same function in torch",
         severity="note"),
    _row("stochastic", "the call draws random numbers", "nothing to do where they were replayed", severity="note"),
    _row("not-compared", "no gradient was compared of something that the call reads", "name the gradient if it has one",
         severity="note"),
    _row("unsupported", "the code says itself that it does not take the call", "nothing to do unless it should",
         severity="note"),
)
# fmt: on

CAUSES = {row.name: row for row in _ROWS}
ERRORS = frozenset(name for name, row in CAUSES.items() if row.severity == "error")


@cache
def having(trait: Trait) -> frozenset[str]:
    """The causes with a trait.

    >>> sorted(having("shape"))
    ['missing-broadcast-sum', 'wrong-shape']
    """
    return frozenset(name for name, row in CAUSES.items() if trait in row.traits)


def _mended(kinds: str, causes: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(kinds.split(), frozenset(causes.split()))


# by kind of edit, the causes that it mends as a rule; every kind is tried for every cause, these first
MENDED_BY: dict[str, frozenset[str]] = {
    **_mended("change-sign", "sign missing-conjugate missing-term"),
    **_mended("double halve scale-by-size", "constant-factor size-specialised overflow"),
    **_mended("change-integer", "constant-factor size-specialised overflow missing-term missing-factor wrong-value not-linear"),
    **_mended("sum-for-mean", "constant-factor size-specialised"),
    **_mended("drop-factor drop-power", "missing-factor wrong-value value-dependent wrong-operand constant-factor not-linear"),
    **_mended("multiply-by-upstream", "upstream-ignored upstream-scalarized output-gradient-dropped"),
    **_mended("use-upstream", "upstream-ignored"),
    **_mended("whole-array", "upstream-scalarized unwritten-elements"),
    **_mended("drop-sum", "upstream-scalarized wrong-shape wrong-axis"),
    **_mended("multiply-by-name", "missing-factor wrong-value value-dependent wrong-operand option-specialised"),
    **_mended("complement square-name", "missing-factor wrong-value value-dependent wrong-operand"),
    **_mended("replace-name swap-saved", "wrong-operand slots-swapped missing-factor wrong-value"),
    **_mended("swap-returned", "slots-swapped wrong-shape wrong-operand"),
    **_mended("swap-operands", "wrong-operand transposed permuted raises sign"),
    **_mended("add-sum", "missing-broadcast-sum wrong-shape fan-out-overwritten size-specialised"),
    **_mended("match-shape", "missing-broadcast-sum wrong-shape engine-reduced size-specialised"),
    **_mended("change-axis drop-axis", "wrong-axis wrong-shape"),
    **_mended("flip-keepdim", "wrong-shape wrong-axis raises"),
    **_mended("add-transpose drop-transpose transpose-value", "transposed permuted wrong-shape wrong-operand raises"),
    **_mended("add-term", "missing-term fan-out-overwritten aliased-inputs"),
    **_mended("other-comparison", "outside-subdifferential tie-mass convention value-dependent"),
    **_mended("accumulate", "accumulates-across-calls fan-out-overwritten duplicate-index aliased-inputs"),
    **_mended("accumulate-indexed", "duplicate-index"),
    **_mended("overwrite", "accumulates-across-calls"),
    **_mended("add-clone clone-value", "mutates-grad-output mutates-input mutates-saved reused-buffer"),
    **_mended("out-of-place", "mutates-grad-output mutates-input mutates-saved not-linear"),
    **_mended("add-contiguous", "upstream-layout input-layout"),
    **_mended("return-name", "missing-gradient zero-gradient gradient-count slots-swapped"),
    **_mended("cast", "wrong-dtype"),
    **_mended("drop-cast", "low-precision wrong-dtype"),
    **_mended("drop-detach", "double-backward"),
    **_mended("add-conjugate", "missing-conjugate"),
    **_mended("number-of-forward read-option add-epsilon", "epsilon-mismatch default-mismatch option-specialised non-finite"),
    **_mended("drop-offset", "unwritten-elements constant-factor size-specialised"),
}
