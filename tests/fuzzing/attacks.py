"""What strangers put into a case file, by kind of attack: the file as data or as bytes, and the one line that refuses it."""

from __future__ import annotations

import json
from typing import Any

from gradcheck_lab.model.limits import FILE_BYTES
from tests.strangers import CASE, changed, without

NAME_IT = "what a file names is not imported, so name it yourself: gradcheck-lab replay case.json"


def entry(place: str, said: str) -> str:
    return f"'case.json' is no case: the entry {place!r} {said}"


def at(*place: Any, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = changed(CASE, place, value)
    return found


TEXT = json.dumps(CASE).encode()
ATTACKS: dict[str, tuple[Any, str]] = {
    "shell": (
        at("target", value="subprocess:run") | {"reference": None, "options": {"args": ["touch owned"], "shell": True}},
        f"'case.json' holds a call of 'subprocess:run'; {NAME_IT} MODULE:NAME",
    ),
    "module-on-the-path": (
        CASE,
        f"'case.json' holds a call of 'evil:loss' and a comparison with 'evil:exact'; {NAME_IT} MODULE:NAME "
        "--reference MODULE:NAME",
    ),
    "reference-of-an-op-of-ours": (
        at("target", value="gradcheck_lab.ops:relu"),
        f"'case.json' holds a comparison with 'evil:exact'; {NAME_IT} --reference MODULE:NAME",
    ),
    "name-of-ours-that-is-no-op": (
        at("target", value="gradcheck_lab.ops:FAMILIES") | {"reference": None},
        f"'case.json' holds a call of 'gradcheck_lab.ops:FAMILIES'; {NAME_IT} MODULE:NAME",
    ),
    "other-code-of-ours": (
        at("target", value="gradcheck_lab.commands.demo:run") | {"reference": None},
        f"'case.json' holds a call of 'gradcheck_lab.commands.demo:run'; {NAME_IT} MODULE:NAME",
    ),
    "target-with-a-path": (
        at("target", value="../evil:op"),
        entry("target", "is '../evil:op' and has to be null or pkg.module:name"),
    ),
    "target-with-a-command": (
        at("target", value="evil:op; rm -rf ~"),
        entry("target", "is 'evil:op; rm -rf ~' and has to be null or pkg.module:name"),
    ),
    "target-with-controls": (
        at("target", value="\x1b[2J\u202eevil:op"),
        entry("target", r"is '\x1b[2J\u202eevil:op' and has to be null or pkg.module:name"),
    ),
    "reference-is-a-list": (
        at("reference", value=["evil", "op"]),
        entry("reference", "is a list of 2 and has to be null, '?' or pkg.module:name"),
    ),
    "attribute-of-torch-for-a-dtype": (
        at("inputs", 0, "dtype", value="_dynamo"),
        entry("inputs[0].dtype", "is '_dynamo' and has to be one of float64, float32, bfloat16, float16, int64, bool"),
    ),
    "mask-of-floats": (
        at("inputs", 2, "dtype", value="float64"),
        entry("inputs[2].dtype", "is 'float64' and has to be bool for mask"),
    ),
    "unknown-kind": (
        at("inputs", 0, "kind", value="surreal"),
        entry(
            "inputs[0].kind",
            "is 'surreal' and has to be one of real, positive, nonzero, probabilities, one_hot, labels, integers, mask",
        ),
    ),
    "unknown-layout": (
        at("inputs", 0, "layout", value="__class__"),
        entry("inputs[0].layout", "is '__class__' and has to be one of contiguous, transposed, sliced, offset, expanded"),
    ),
    "unknown-profile": (
        at("inputs", 0, "profile", value=3),
        entry("inputs[0].profile", "is 3 and has to be one of ordinary, equal, ties, zeros, whole, large, tiny, written"),
    ),
    "huge-shape": (
        at("inputs", 1, "shape", value=[10**12]),
        entry("inputs[1].shape", "is a list of 1 and has to be a list of at most 32 whole numbers from 0 to 16777216"),
    ),
    "negative-size": (
        at("inputs", 1, "shape", value=[-1]),
        entry("inputs[1].shape", "is a list of 1 and has to be a list of at most 32 whole numbers from 0 to 16777216"),
    ),
    "shape-of-floats": (
        at("inputs", 1, "shape", value=[2.0]),
        entry("inputs[1].shape", "is a list of 1 and has to be a list of at most 32 whole numbers from 0 to 16777216"),
    ),
    "many-axes": (
        at("inputs", 1, "shape", value=[1] * 1000),
        entry("inputs[1].shape", "is a list of 1000 and has to be a list of at most 32 whole numbers from 0 to 16777216"),
    ),
    "large-product": (
        at("inputs", 1, "shape", value=[2**13, 2**13]),
        "'case.json' is no case: the tensors up to 'inputs[1]' need more than 16777216 elements",
    ),
    "empty-with-large-strides": (
        at("inputs", 1, "shape", value=[0, 2**24, 2**24, 2**24]),
        "'case.json' is no case: the tensors up to 'inputs[1]' need more than 16777216 elements",
    ),
    "gaps-of-a-sliced-layout": (
        at("inputs", value=[{**CASE["inputs"][1], "layout": "sliced", "shape": [1] * 30}]),
        "'case.json' is no case: the tensors up to 'inputs[0]' need more than 16777216 elements",
    ),
    "many-tensors": (
        at("inputs", value=[CASE["inputs"][2]] * 1001),
        entry("inputs", "is a list of 1001 and has to be a list of at most 1000 tables"),
    ),
    "more-values-than-the-shape": (
        at("inputs", 0, "values", value=[1.0, 2.0]),
        entry("inputs[0].values", "has 2 values and the shape has 6"),
    ),
    "text-among-the-values": (
        at("inputs", 0, "values", 4, value="evil"),
        entry("inputs[0].values[4]", "is 'evil', which is no float32"),
    ),
    "value-beyond-the-dtype": (
        at("inputs", 0, "values", 4, value=1e300),
        entry("inputs[0].values[4]", "is 1e+300, which is no float32"),
    ),
    "whole-number-for-a-truth": (
        at("inputs", 2, "values", 0, value=1),
        entry("inputs[2].values[0]", "is 1, which is no bool"),
    ),
    "bounds-the-wrong-way": (at("inputs", 1, "low", value=3), entry("inputs[1].high", "is 3 and has to be above 3")),
    "bound-of-65-bits": (
        at("inputs", 1, "high", value=2**63),
        entry("inputs[1].high", "is 9223372036854775808 and has to be a whole number of 64 bits"),
    ),
    "seed-too-large": (
        at("seed", value=2**64),
        entry("seed", "is 18446744073709551616 and has to be a whole number from -2**63 to 2**64 - 1"),
    ),
    "seed-is-true": (
        at("made_with", value=True),
        entry("made_with", "is True and has to be a whole number from -2**63 to 2**64 - 1"),
    ),
    "third-order": (at("order", value=3), entry("order", "is 3 and has to be 1 or 2")),
    "order-is-true": (at("order", value=True), entry("order", "is True and has to be 1 or 2")),
    "unknown-cause": (at("allow", value=["everything"]), entry("allow", "is a list of 1 and has to be a list of causes")),
    "allow-is-a-text": (at("allow", value="raises"), entry("allow", "is 'raises' and has to be a list of causes")),
    "option-that-is-no-name": (
        at("options", value={"a b": 1}),
        entry("options", "is a table of 1 and has to be a table of plain values by the names of options"),
    ),
    "options-are-a-list": (
        at("options", value=[["p", 2]]),
        entry("options", "is a list of 1 and has to be a table of plain values by the names of options"),
    ),
    "python-is-a-list": (at("python", value=["import os"]), entry("python", "is a list of 1 and has to be a text")),
    "unknown-entry": (at("__reduce__", value=["os.system", "id"]), entry("__reduce__", "is unknown")),
    "unknown-entry-of-a-tensor": (at("inputs", 0, "seed", value=1), entry("inputs[0].seed", "is unknown")),
    "missing-entry": (without(CASE, ("reference",)), entry("reference", "is missing")),
    "missing-entry-of-a-tensor": (without(CASE, ("inputs", 1, "low")), entry("inputs[1].low", "is missing")),
    "another-schema": (
        at("schema", value=2),
        "'case.json' is no case: its format is 'gradcheck_lab case', schema 2; "
        "this version reads 'gradcheck_lab case', schema 1, as gl.fuzz writes it",
    ),
    "format-is-a-table": (
        at("format", value={"a": 1}),
        "'case.json' is no case: its format is a table of 1, schema 1; this version reads 'gradcheck_lab case', schema 1, "
        "as gl.fuzz writes it",
    ),
    "text": (b'"case"', "'case.json' holds 'case'; name a file that gl.fuzz saved"),
    "empty": (b"", "'case.json' is no JSON (Expecting value: line 1 column 1 (char 0)); name a file that gl.fuzz saved"),
    "cut-off": (
        TEXT[:40],
        "'case.json' is no JSON (Unterminated string starting at: line 1 column 34 (char 33)); name a file that gl.fuzz saved",
    ),
    "not-utf-8": (
        TEXT.replace(b"loss", b"lo\xffs", 1),
        "'case.json' is no UTF-8 text (invalid start byte at byte 60); name a file that gl.fuzz saved",
    ),
    "pickle": (
        b"\x80\x04cposix\nsystem\n\x8c\x02id\x85R.",
        "'case.json' is no UTF-8 text (invalid start byte at byte 0); name a file that gl.fuzz saved",
    ),
    "entry-twice": (
        TEXT.replace(b'"order"', b'"seed": 1, "order"', 1),
        "'case.json' has the entry 'seed' twice; name a file that gl.fuzz saved",
    ),
    "not-a-number": (
        TEXT.replace(b"0.5", b"NaN", 1),
        "'case.json' holds NaN, which is no number of JSON; name a file that gl.fuzz saved",
    ),
    "infinity": (
        TEXT.replace(b"0.5", b"-Infinity", 1),
        "'case.json' holds -Infinity, which is no number of JSON; name a file that gl.fuzz saved",
    ),
    "number-too-large": (
        TEXT.replace(b"0.5", b"1e999", 1),
        "'case.json' holds '1e999', which is too large for a number; name a file that gl.fuzz saved",
    ),
    "many-digits": (
        TEXT.replace(b'"seed": 7', b'"seed": ' + b"7" * 9999, 1),
        "'case.json' holds a whole number of 9999 digits; name a file that gl.fuzz saved",
    ),
    "deep": (
        TEXT.replace(b"0.5", b"[" * 33 + b"]" * 33, 1),
        "'case.json' nests entries more than 32 deep; name a file that gl.fuzz saved",
    ),
    "very-deep": (
        b"[" * 200_000,
        "'case.json' nests entries more than 32 deep; name a file that gl.fuzz saved",
    ),
    "very-large": (
        b" " * (FILE_BYTES.value + 1),
        "'case.json' has more than the 4,194,304 bytes that are read; name a file that gl.fuzz saved",
    ),
}  # fmt: skip
