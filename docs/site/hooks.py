"""What the site has beside docs/*.md: folders of the navigation, files of the project that pages link, and inline drawings."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from pages import ROOT, ROOT_PAGES, files_of, inside_the_site, outside_links

DRAWING = re.compile(r'<img alt="(?P<alt>[^"]*)" src="(?P<source>[^"]*\.svg)"\s*/?>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder in the place of its name."""
    config.nav = [entry for entry in map(_with_folders, config.nav or []) if entry]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's own pages, and the files outside of docs/ that a page links."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name in outside_links():
        if name not in ROOT_PAGES:
            files.append(File.generated(config, inside_the_site(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside of docs/ lead to their copies, and those of the project's own pages to pages."""
    if page.file.src_uri in ROOT_PAGES:
        return markdown.replace("](docs/", "](")
    depth = page.file.src_uri.count("/")
    out, here = "../" * (depth + 1), "../" * depth

    def inside(found: re.Match[str]) -> str:
        name, _, anchor = found["target"].partition("#")
        return f"]({here}{inside_the_site(name)}{'#' * bool(anchor)}{anchor})"

    return re.sub(rf"\]\({re.escape(out)}(?P<target>[^.)][^)]*)\)", inside, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write drawings into the page, where they take the colours of its theme."""

    def inline(found: re.Match[str]) -> str:
        source = (Path(config.docs_dir) / page.file.src_uri).parent / found["source"]
        drawing = source.read_text(encoding="utf-8").partition("<svg")
        return f'<figure class="drawing" role="img" aria-label="{found["alt"]}">{drawing[1]}{drawing[2]}</figure>'

    return DRAWING.sub(inline, html)


def _with_folders(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, below),) = entry.items()
    if isinstance(below, list):
        return {title: [_with_folders(each) for each in below]}
    if not below.endswith("/"):
        return entry
    pages = files_of(below)
    return {title: pages} if pages else None
