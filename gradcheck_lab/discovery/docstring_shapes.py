"""Specs that a docstring says: `x: Input data, of shape (N, D)`, `- w: (D, M)`, `y : array of shape (n,)`, `x: [B, T]`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from gradcheck_lab import specs
from gradcheck_lab.specs import Spec

_NAMES = r"[`*'\"]*[A-Za-z_]\w*[`*'\"]*(?:\s*,\s*[`*'\"]*[A-Za-z_]\w*[`*'\"]*)*"
_ENTRY = re.compile(
    rf"(?P<indent>[ \t]*)(?:[-*•+]\s+|\d+[.)]\s+)?(?::param\s+(?:[\w.\[\]]+\s+)??)?(?P<names>{_NAMES})\s*"
    r"(?:\((?P<type>[^()]*(?:\([^()]*\)[^()]*)*)\))?\s*(?::|--?|–|=|：)\s*(?P<rest>.*)"
)
_LISTED = re.compile(r"\s*[-*•+]\s+[`'\"]*[A-Za-z_]\w*[`'\"]*\s*(?:\(|:)")  # an entry of its own, of what a dictionary holds
_NO_ARRAY = re.compile(r"\b(?:dict(?:ionary)?|callable|string|str)\b", re.IGNORECASE)
_BRACKETS = r"[(\[]([^()\[\]]*)[)\]]"
_SAID = re.compile(rf"(?:shape|size|dimensions?|dims?)s?\s*(?:is|of|:|=|,|`)*\s*{_BRACKETS}", re.IGNORECASE)
_SAID_AFTER = re.compile(rf"{_BRACKETS}\W*(?:shape|array|tensor|matrix|vector)", re.IGNORECASE)
_ANY = re.compile(_BRACKETS)
_CROSSED = re.compile(r"(?<!\w)((?:[A-Z]\w*|\d+)(?:\s*[x×]\s*(?:[A-Z]\w*|\d+))+)(?!\w)")
_RUN = re.compile(r"([A-Za-z]+?)_?[1i0]\s*,.*?(?:\.\.\.|…).*?,?\s*\1_?\w+|(?:[A-Za-z]\w*\s*,\s*)?(?:\.\.\.|…)")
_WHOLE = re.compile(r"([A-Za-z]\w*)\s*=\s*(?:[A-Za-z]+_?[1i0]\s*(?:\*|x|×)|\\?prod)")
_TOKEN = re.compile(r"([1-9]\d*)|([A-Za-z]\w*)|([1-9]\d*)\s*\*?\s*([A-Za-z]\w*)|([A-Za-z]\w*)\s*\*\s*([1-9]\d*)")
_SPREAD, _PRODUCT = "3 4", "12"  # sizes for dimensions of which a docstring says that there are any number, and their product


def described_shapes(text: str, names: Sequence[str]) -> dict[str, Spec]:
    """The specs of those of the names that a docstring gives a shape of; one letter is one size everywhere in it.

    >>> text = "- x: Input data, of shape (N, d_1, ..., d_k); we flatten to D = d_1 * ... * d_k" + chr(10) + "- w: (D, M)"
    >>> {name: str(spec) for name, spec in described_shapes(text, ["x", "w"]).items()}
    {'x': "real('N 3 4')", 'w': "real('12 M')"}
    """
    whole = {found[1]: _PRODUCT for found in _WHOLE.finditer(text)}
    whole |= {found[1].upper(): _PRODUCT for found in _RUN.finditer(text) if found[1] is not None and found[1].islower()}
    entries = dict(reversed([(name, entry) for name, entry in _entries(text) if name in names]))
    dims = {name: shape for name in names if name in entries and (shape := _shape(*entries[name], whole)) is not None}
    first = next((shape for name, shape in dims.items() if _kind(entries[name][1]) == "real"), [])
    found = {name: _spec(entries[name][1], shape, first, {d for s in dims.values() for d in s}) for name, shape in dims.items()}
    return {name: spec for name, spec in found.items() if spec is not None}


def _entries(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """The name of each parameter with its type and description; lines that stand further to the right go with it."""
    lines = textwrap.dedent(text.partition("\n")[0] + "\n" + textwrap.dedent(text.partition("\n")[2])).splitlines()
    for number, line in enumerate(lines):
        found = _ENTRY.fullmatch(line)
        if found is None:
            continue
        further = []
        for each in lines[number + 1 :]:
            if not each.strip() or len(each) - len(each.lstrip()) <= len(found["indent"]) or _LISTED.match(each):
                break
            further.append(each.strip())
        words = " ".join([found["rest"], *further])
        for name in found["names"].split(","):
            yield name.strip(" `*'\""), (found["type"] or "", words)


def _shape(kind: str, words: str, whole: dict[str, str]) -> list[str] | None:
    """The dimensions that an entry says, as in a spec: those said to be a shape, those at its start, else the first."""
    if _NO_ARRAY.search(kind) or _NO_ARRAY.match(re.sub(r"^\W*(?:an?|the)\s+", "", words)):
        return None
    texts = [m[1] for pattern in (_SAID, _SAID_AFTER) for m in pattern.finditer(words)]
    texts += [m[1] for m in [re.match(rf"\W*{_BRACKETS}", words)] if m is not None]
    for text in texts:
        if (dims := _dims(text, whole)) is not None:
            return dims
    for text in [*(m[1] for m in _ANY.finditer(words)), kind, *(m[1] for m in _ANY.finditer(kind))]:
        if (
            "," in text
            and not re.search(r"\b(?:optional|default|required)\b", text)
            and (dims := _dims(text, whole)) is not None
        ):
            return dims
    if re.search(r"\b(?:any|same|arbitrary) (?:shape|size)", words):
        return _SPREAD.split()
    crossed = _CROSSED.search(words) or _CROSSED.search(kind)
    return None if crossed is None else _dims(re.sub(r"\s*[x×]\s*", ",", crossed[1]), whole)


def _dims(text: str, whole: dict[str, str]) -> list[str] | None:
    if re.search(r"[*×]\s*(?:\.\.\.|…)", text):  # C1*C2*...*Cn
        text = re.sub(r"[A-Za-z]+_?1\s*\*[^,]*", _PRODUCT, text)
    text = re.sub(r"(?<=\.)\s*(?=[A-Za-z])", ",", text) if "..." in text else text
    text = re.sub(r"(^|,)\s*\*\s*(?=,|$)", r"\1...", text)
    spread = _RUN.search(text) if re.search(r"\.\.\.|…", text) else None
    if spread is not None:
        kept = spread[0].partition(",")[0] if spread[1] is None and "," in spread[0] else ""
        text = f"{text[: spread.start()]}{kept + ',' if kept else ''}{_SPREAD.replace(' ', ',')}{text[spread.end() :]}"
    found = []
    for part in filter(None, (part.strip(" `$'\"") for part in text.split(","))):
        match = _TOKEN.fullmatch(re.sub(r"(?<=\w) (?=\w)", "_", part))
        if match is None:
            return None
        size, letter, times, of, of_too, times_too = match.groups()
        found.append(size or whole.get(letter or "") or letter or f"{times or times_too}{of or of_too}")
    return found if found or not text.strip() else None


def _kind(words: str) -> str:
    words = words.lower()
    for kind, pattern in (
        ("one_hot", r"one[- ]?hot"),
        ("labels", r"\blabels?\b|\btarget class|\bclass (?:ind|id)|\b0\s*<=?\s*\w+[^<]{0,12}<"),
        ("integers", r"\bint(?:eger)?s?\d*\b|\bind(?:ex|ices)\b|\blong\b"),
        ("mask", r"\bbool(?:ean)?s?\b|\bmask\b"),
        ("probabilities", r"\bprobabilit"),
        ("positive", r"\bpositive\b|\bvariances?\b|\bstandard deviation"),
    ):
        if re.search(pattern, words):
            return kind
    return "real"


def _spec(words: str, dims: list[str], first: list[str], letters: set[str]) -> Spec | None:
    kind, shape = _kind(words), " ".join(dims)
    if kind in ("labels", "integers"):
        bound = re.search(r"<\s*([A-Za-z]\w*)", words)
        classes = bound[1] if bound is not None and bound[1] in letters else ""
        if kind == "labels" and not classes and len(first) > len(dims):
            classes = first[-1]
        if classes:
            return specs.labels(shape, classes=classes)
        return specs.integers(shape) if kind == "integers" else None
    makers = {"one_hot": specs.one_hot, "mask": specs.mask, "probabilities": specs.probabilities, "positive": specs.positive}
    return makers.get(kind, specs.real)(shape)
