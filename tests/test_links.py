"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
PAGES = sorted(
    (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / folder / "README.md" for folder in ("benchmarks", "catalog", "requirements", "tests/data")),
    )
)


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The names that a page's headings are linked by: of the second of two alike, with -1."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(prose(path)):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if n == 0 else f"{slug}-{n}" for slug, last in found.items() for n in range(last + 1)}


def broken_links(page: Path) -> list[str]:
    """What `page` points at that is not there."""
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page):
    assert broken_links(page) == []


def test_every_page_is_reached_from_the_readme():
    reached, open_ = set(), [ROOT / "README.md"]
    while open_:
        page = open_.pop()
        reached.add(page)
        targets = {(page.parent / t.partition("#")[0]).resolve() for t in LINK.findall(prose(page))}
        open_ += [t for t in targets if t.suffix == ".md" and t.exists() and t not in reached]
    assert sorted(set(ROOT.glob("docs/*.md")) - reached) == []


def test_pages_that_the_code_sends_readers_to_exist():
    missing = {}
    for path in (*ROOT.glob("apex_nautilus/**/*.py"), *ROOT.glob("scripts/*.py")):
        for name in re.findall(r"\bdocs/([\w-]+\.(?:md|svg))", path.read_text(encoding="utf-8")):
            if not list(ROOT.glob(f"docs/**/{name}")):
                missing.setdefault(path.relative_to(ROOT).as_posix(), []).append(name)
    assert missing == {}


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# How a `book` is stored\n\n## Again\n\n## Again\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#how-a-book-is-stored) [c](other.md#again-1) [d](#here)\n"
        "[e](https://example.org/x.md)\n"
        "![f](img/none.svg) [g](none.md) [h](other.md#again-2) [i](#there)\n"
        "```\n[j](code.md)\n```\n\n# Here\n"
    )
    assert broken_links(page) == ["img/none.svg", "none.md", "other.md#again-2", "#there"]
