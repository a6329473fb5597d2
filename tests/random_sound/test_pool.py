"""Random sound ops and programs, in every form, dtype and shape: the whole check passes, without an error or a warning."""

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

import gradcheck_lab as gl
from tests.lanes import examples
from tests.random_sound.draws import Draw
from tests.random_sound.forms import Row, Subject, subject_of
from tests.random_sound.once_flagged import ONCE_FLAGGED, Flagged
from tests.random_sound.pool import POOL
from tests.random_sound.programs import program

# in README's command, and in the thorough lane
CALLS, COSTLY_CALLS, PROGRAMS = (2, 80), (1, 40), (4, 160)
# their checks take several times as long as the others'
COSTLY = set(
    "lstm_cell clamp_to_tensors polar prelu leaky_relu layer_norm weighted_mean saved_statistics rotary flash_attention snake "
    "batch_norm gated_update triplet overlapping_pooling deviation low_rank_update product_of_three where_needed "
    "interpolation log_sum_exp divergence multi_class_margin drawn_mask max_pooling rms_norm optional_upstreams softplus "
    "two_layers accumulating_layers recurrent_cell dice".split()
)
# a full check is too dear to shrink with: what fails is shown as it was drawn
PHASES = (Phase.explicit, Phase.generate)


def calls_of(row: Row) -> tuple[int, int]:
    return COSTLY_CALLS if row.name in COSTLY else CALLS


def assert_passes_in_silence(subject: Subject) -> None:
    """Run every probe on one call; nothing worse than a note may be found."""
    report = gl.check(subject.op, *subject.inputs, options=dict(subject.options))
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.drawn
@pytest.mark.parametrize("row", POOL, ids=lambda row: row.name)
def test_sound_op_passes_every_probe(row: Row) -> None:
    @examples(*calls_of(row), phases=PHASES)
    @given(data=st.data())
    def passes(data: st.DataObject) -> None:
        assert_passes_in_silence(subject_of(row, Draw(data.draw)))

    passes()


@examples(*PROGRAMS, phases=PHASES)
@given(data=st.data())
def test_sound_program_passes_every_probe(data: st.DataObject) -> None:
    assert_passes_in_silence(program(Draw(data.draw)))


@pytest.mark.parametrize("flagged", ONCE_FLAGGED, ids=lambda flagged: flagged.name)
def test_call_that_was_once_flagged_passes(flagged: Flagged) -> None:
    assert_passes_in_silence(flagged.subject())


def test_pool_is_wide_enough_for_thousands_of_calls() -> None:
    names = {row.name for row in POOL}
    assert len(names) == len(POOL)
    assert len(POOL) >= 40
    assert names >= COSTLY
    assert sum(many for _, many in (*map(calls_of, POOL), PROGRAMS)) >= 1000
