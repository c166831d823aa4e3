"""Check the links of a built site: every page, file and anchor that a page of it refers to must exist.

``python docs/site/check_links.py build/docs`` prints each broken link and exits with 1 if there is one. Links to other
sites are not followed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page(HTMLParser):
    """Links and anchors of one HTML page."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ``id``, ``name``, ``href`` and ``src``."""
        found = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        self.links += [value for key in ("href", "src") if (value := found.get(key))]


def broken_links(site: Path) -> list[str]:
    """Return one line per link of a page of ``site`` that leads to no page, file or anchor of it."""
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            reason = _problem(link, path, pages, site.resolve())
            if reason:
                found.append(f"{path.relative_to(site.resolve())}: {link}: {reason}")
    return found


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _problem(link: str, source: Path, pages: dict[Path, Page], site: Path) -> str:
    """Return what is wrong with a link, or nothing."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    file = unquote(parts.path)
    target = source
    if file:
        target = (site / file.lstrip("/") if file.startswith("/") else source.parent / file).resolve()
        target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "no such anchor"
    return ""


def main(arguments: list[str]) -> int:
    """Check the site in the folder that is given; returns the exit status."""
    site = Path(arguments[0] if arguments else "build/docs")
    if not (site / "index.html").is_file():
        sys.stdout.write(f"{site}: no index.html: build the site first\n")
        return 2
    found = broken_links(site)
    sys.stdout.write("".join(f"{line}\n" for line in found) + f"{site}: {len(found) or 'no'} broken link(s)\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
