"""Jupyter Book 2 reads every page, offline, and knows all that stands on it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import course

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="Jupyter Book 2 needs Node on PATH"),
]

# What its export to Markdown (out.md) can't write it has still read; extra front matter is ours.
EXPORT = r"out\.md(?::\d+)* (Unsupported node type|Unexpected grid node child)"
HARMLESS = re.compile(rf"{EXPORT}|'frontmatter' extra key ignored")
# The landing page's lists are made by this site alone.
OURS = re.compile(r"index\.md:\d+ unknown directive: (course-map|chapter-cards)$")


def complaints(folder: Path, page: str) -> list[str]:
    tool = Path(sys.executable).parent / "jupyter-book"
    done = subprocess.run(
        [tool, "build", page, "--md", "--force", "-o", "out.md"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert any("Built" in line and page in line for line in said), said
    marked = [line.strip() for line in said if "⚠" in line or "⛔" in line]
    return [line for line in marked if not HARMLESS.search(line) and not OURS.search(line)]


@pytest.fixture
def book(tmp_path):
    """The pages and ``myst.yml`` alone, so that nothing is written beside the sources."""
    source = course.root() / "book"
    for path in [*source.glob("*.md"), *(source / f"{c}.md" for c in course.chapters())]:
        target = tmp_path / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    for name in ("myst.yml", "references.bib"):
        shutil.copy(source / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["index", *course.chapters()])
def test_every_page_is_read_without_a_complaint(book, page):
    assert complaints(book, f"{page}.md") == []


def test_an_unknown_directive_and_a_missing_target_would_be_complaints(book):
    page = book / "broken.md"
    page.write_text("# Broken\n\n```{nonesuch}\n```\n\n[](#nowhere) {cite}`nobody1900`\n", "utf-8")
    found = " ".join(complaints(book, "broken.md"))
    for name in ("nonesuch", "nowhere", "nobody1900"):
        assert name in found


def test_its_contents_cover_every_chapter():
    text = (course.root() / "book" / "myst.yml").read_text(encoding="utf-8")
    for chapter in course.chapters():
        part = chapter.split("/")[0]
        assert f"pattern: {part}/*.md" in text, (
            f"add a part with `pattern: {part}/*.md` to book/myst.yml"
        )
