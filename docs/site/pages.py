"""Which files are pages of the site, and where the files outside of docs/ are that pages link; mkdocs is not needed for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<!`)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(?P<indent> *)```.*?^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def page_files() -> list[Path]:
    """Every Markdown file that the site shows."""
    own = (path for path in sorted(DOCS.rglob("*.md")))
    return [*own, *(ROOT / name for name in ROOT_PAGES)]


def files_of(folder: str) -> list[str]:
    """The pages of a folder as the navigation names them: its index first, then by name."""
    names = sorted(path.name for path in (DOCS / folder).glob("*.md"))
    return [folder + name for name in sorted(names, key=lambda name: name != "index.md")]


def links_of(path: Path) -> list[str]:
    """The links of a page to other files and to headings, code left out."""
    text = CODE.sub("`code`", FENCE.sub("", path.read_text(encoding="utf-8")))
    return [found["target"] for found in LINK.finditer(text) if not re.match(r"[a-z]+:", found["target"])]


def outside_links() -> list[str]:
    """The files outside of docs/ that pages link, by their path in the project."""
    return sorted({str(target.relative_to(ROOT)) for target in _targets() if target.is_file() and DOCS not in target.parents})


def inside_the_site(name: str) -> str:
    """Where the site has a file of the project."""
    return name if name in ROOT_PAGES else f"project/{name}"


def _targets() -> Iterator[Path]:
    for page in page_files():
        if DOCS in page.parents:
            yield from ((page.parent / link.partition("#")[0]).resolve() for link in links_of(page) if not link.startswith("#"))
