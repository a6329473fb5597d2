"""Files as strangers send them: valid ones, and ways to damage them, by hand and by Hypothesis."""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import torch
from hypothesis import strategies as st

from gradcheck_lab.calls.kinds import WRITTEN
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.fuzzing.portable import SavedCase

CALL = CallRecipe(
    (
        TensorRecipe("real", (2, 3), torch.float32, "ties", "sliced", seed=3),
        TensorRecipe("labels", (100,), torch.int64, "ordinary", "contiguous", 4, 0, 3),
        TensorRecipe("mask", (2,), torch.bool, WRITTEN, values=(True, False)),
    ),
    {"reduction": "sum", "weights": [0.5, None, {"a": True}], "dim": (0, (1, -1)), "p": float("inf")},
    7,
)
CASE = json.loads(
    json.dumps(SavedCase(CALL, "loss", "evil:loss", "evil:exact", 2, ("raises",), "wrong", "words", "x = 1", 5).to_dict())
)
# what stands for anything else: of each type of JSON, and the values that are special in one of them
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**40, -(2**70), 10**4000, 0.5, -0.0, 1e300, float("inf"), float("nan"), "", "evil", "evil:op",
    "\x1b[31m\u202e\ud800\n", "x" * 5000, [], [[]], [1], ["evil"], [None], {}, {"evil": 1},
    {"float": "nan"}, {"complex": [1, 2]},
)  # fmt: skip

Path = tuple[Any, ...]


def places(data: Any, here: Path = ()) -> Iterator[Path]:
    """The place of every entry of nested data, as keys and indices from the top."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield (*here, key)
        yield from places(value, (*here, key))


def changed(data: Any, place: Path, value: Any) -> Any:
    """A copy of the data with another value at a place."""
    found = copy.deepcopy(data)
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return found


def without(data: Any, place: Path) -> Any:
    """A copy of the data that lacks an entry."""
    found = copy.deepcopy(data)
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    del holder[place[-1]]
    return found


def damaged(data: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Valid data with one to three entries replaced, removed, doubled or added."""
    junk = st.sampled_from(JUNK) | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)

    @st.composite
    def draw(choose: st.DrawFn) -> dict[str, Any]:
        found = data
        for _ in range(choose(st.integers(1, 3))):
            place = choose(st.sampled_from([*places(found)] or [("new",)]))
            how = choose(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
            if how == "replace":
                found = changed(found, place, choose(junk))
            elif how == "remove":
                found = without(found, place) if place != ("new",) else found
            else:
                found = changed(found, (*place[:-1], "new") if isinstance(place[-1], str) else place, choose(junk))
        return found

    return draw()


def assert_shown(text: str) -> None:
    """Nothing in a text would be taken for anything but letters: no control but line breaks, no bidi control, no surrogate."""
    sent = {character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert sent <= {"\n", "\t"}
    text.encode()


def damaged_text(text: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with a part removed, replaced or doubled."""

    @st.composite
    def draw(choose: st.DrawFn) -> bytes:
        start = choose(st.integers(0, len(text)))
        end = choose(st.integers(start, min(len(text), start + 40)) | st.just(len(text)))
        return text[:start] + choose(st.binary(max_size=8) | st.just(text[start:end] * 2)) + text[end:]

    return draw()
