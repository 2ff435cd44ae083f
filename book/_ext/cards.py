"""The landing page's lists, made from the chapters themselves so that they can't go stale.

``{chapter-cards}`` shows a card for every chapter of the table of contents, from the page's title
and the ``course:`` keys of its front matter. ``{course-map}`` shows the six parts with what
``plan.yml`` plans for each; only a chapter that exists is a link.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from toolkit import course

if TYPE_CHECKING:
    from sphinx.application import Sphinx

KEYS: dict[str, type] = {"question": str, "minutes": int, "builds": str, "picture": str}


@dataclass(frozen=True, slots=True)
class Card:
    """What a chapter says of itself; ``picture`` is an SVG's path below ``book``."""

    chapter: str
    title: str
    question: str
    minutes: int
    builds: str
    picture: str


def read_card(chapter: str, page: Path) -> Card:
    """Read a chapter's title and its ``course:`` front matter.

    Raises:
        ValueError: a key is missing or of the wrong type, or the page has no title.
    """
    match = re.match(r"---\n(.*?)\n---\n(.*)", page.read_text(encoding="utf-8"), re.DOTALL)
    front = yaml.safe_load(match[1]) if match else {}
    title = re.search(r"^# (.+)$", match[2], re.MULTILINE) if match else None
    if title is None:
        raise ValueError(f"{chapter} has no front matter and title: begin the page with both")
    said: dict[str, Any] = front.get("course") or {}
    for key, kind in KEYS.items():
        if not isinstance(said.get(key), kind):
            raise ValueError(
                f"{chapter} has course.{key} = {said.get(key)!r} in its front matter: "
                f"it must be a {kind.__name__}, the card on the landing page shows it"
            )
    return Card(chapter, title[1].strip(), **{key: said[key] for key in KEYS})


def _link(chapter: str, text: str) -> nodes.Node:
    return addnodes.pending_xref(
        "",
        nodes.inline("", text),
        refdomain="std",
        reftype="doc",
        reftarget=f"/{chapter}",
        refexplicit=True,
        refwarn=True,
    )


class _FromChapters(SphinxDirective):
    """A directive whose page is built anew when the list of chapters or a chapter changes."""

    def pages(self) -> dict[str, Path]:
        book = Path(self.env.srcdir)
        self.env.note_dependency(str(book / "_toc.yml"))
        found = {chapter: book / f"{chapter}.md" for chapter in course.chapters()}
        for page in found.values():
            self.env.note_dependency(str(page))
        return found


class ChapterCards(_FromChapters):
    """A picture, a question, the minutes and what is built, a chapter."""

    def run(self) -> list[nodes.Node]:
        deck = nodes.container(classes=["chapter-cards"])
        for chapter, page in self.pages().items():
            try:
                deck += self.card(read_card(chapter, page))
            except (ValueError, OSError) as error:
                raise self.error(str(error)) from error
        return [deck]

    def card(self, card: Card) -> nodes.Node:
        picture = Path(self.env.srcdir) / card.picture
        self.env.note_dependency(str(picture))
        part = course.PARTS[card.chapter.split("/")[0]]
        box = nodes.container(classes=["chapter-card"])
        svg = re.sub(r"^<\?xml.*?\?>\s*", "", picture.read_text(encoding="utf-8"))
        box += nodes.raw("", f'<div class="picture" aria-hidden="true">{svg}</div>', format="html")
        words = nodes.container(classes=["words"])
        words += nodes.paragraph("", f"{part} · about {card.minutes} minutes", classes=["kicker"])
        words += nodes.paragraph("", "", _link(card.chapter, card.title), classes=["title"])
        words += nodes.paragraph("", card.question, classes=["question"])
        words += nodes.paragraph(
            "", "", nodes.strong("", "You build "), nodes.Text(card.builds), classes=["builds"]
        )
        box += words
        return box


class CourseMap(_FromChapters):
    """Six parts in reading order; what exists is linked, the rest is marked as planned."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "plan.yml"
        self.env.note_dependency(str(path))
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
        pages = self.pages()
        if list(plan) != list(course.PARTS):
            raise self.error(f"plan.yml lists {list(plan)}: it must list {list(course.PARTS)}")
        board = nodes.container(classes=["course-map"])
        for number, (part, says) in enumerate(plan.items(), start=1):
            written = [c.split("/")[1] for c in pages if c.startswith(f"{part}/")]
            box = nodes.container(classes=["part"])
            box += nodes.paragraph(
                "",
                "",
                nodes.inline("", str(number), classes=["number"]),
                nodes.Text(f" {course.PARTS[part]}"),
                classes=["title"],
            )
            box += nodes.paragraph("", says["line"], classes=["line"])
            names = nodes.bullet_list(classes=["chapters"])
            for name in dict.fromkeys([*says["chapters"], *written]):
                ready = name in written
                title = says["chapters"].get(name, name)
                text = _link(f"{part}/{name}", title) if ready else nodes.Text(title)
                entry = nodes.paragraph("", "", text)
                names += nodes.list_item("", entry, classes=["ready" if ready else "planned"])
            box += names
            board += box
        board += nodes.paragraph(
            "", "What is linked can be read and done today; the rest is planned."
        )
        return [board]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("course-map", CourseMap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
