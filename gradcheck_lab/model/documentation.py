"""Where the documentation is, by the metadata of the installed package."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

from gradcheck_lab.model.causes import CAUSES


def cause_page(name: str) -> str:
    """The address of the page of a cause; empty where the package names no documentation, or the cause is not ours."""
    return page_below(_documentation(), name) if name in CAUSES else ""


def page_below(documentation: str, name: str) -> str:
    """The page of a cause below the address of the documentation: of a site, or of a folder of files on a code host.

    >>> page_below("https://gradcheck.example/en", "constant-factor")
    'https://gradcheck.example/en/causes/constant-factor.html'
    """
    base = documentation.rstrip("/")
    if not re.fullmatch(r"https?://[\w.~:/@%+-]+", base):
        return ""
    is_folder = re.search(r"/(blob|tree)/", base)
    return f"{base}/causes/{name}{'.md' if is_folder else '.html'}"


@cache
def _documentation() -> str:
    try:
        entries = metadata("gradcheck_lab").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    pairs = (str(entry).partition(",") for entry in entries)
    return next((address.strip() for label, _, address in pairs if label.strip().lower() == "documentation"), "")
