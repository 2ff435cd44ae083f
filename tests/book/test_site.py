"""What is on disk after a build: every page, nothing from elsewhere, notebooks, MathML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import jupytext
import nbformat
import pytest
import yaml

from toolkit import course

pytestmark = pytest.mark.slow

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOTEBOOK = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  name: python3
---
"""


def pages():
    """Every page of the table of contents, chapters or not."""
    toc = yaml.safe_load((course.root() / "book" / "_toc.yml").read_text(encoding="utf-8"))
    found = [toc["root"]]
    for part in toc.get("subtrees", []) + toc.get("parts", []):
        found += [entry["file"] for entry in part.get("entries", []) + part.get("chapters", [])]
    return found


def test_every_page_of_the_contents_is_built(site):
    assert [page for page in pages() if not (site / f"{page}.html").exists()] == []


class Loaded(HTMLParser):
    """Addresses that a browser fetches by itself when it shows a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "link" and "canonical" in (attributes.get("rel") or ""):
            return
        if address := attributes.get(LOADS.get(tag, "")):
            self.addresses.append(address)


def test_no_page_or_style_sheet_fetches_from_another_host(site):
    found = []
    for path in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(path.read_text(encoding="utf-8"))
        found += [(path.name, a) for a in parser.addresses if re.match(r"(https?:)?//", a)]
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        found += [
            (path.name, a)
            for a in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", text)
        ]
    assert found == []


def test_no_page_needs_mathjax_requirejs_or_a_widget_manager(site):
    for page in pages():
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        scripts = " ".join(re.findall(r"<script.*?>", html) + re.findall(r"import\(.*?\)", html))
        for name in ("mathjax", "require", "html-manager", "embed-amd", "cdn"):
            assert name not in scripts.lower(), (page, name)


def test_maths_is_mathml(site):
    for page in pages():
        source = course.root() / "book" / f"{page}.md"
        if source.exists() and re.search(r"^\$\$|^```\{math\}", source.read_text("utf-8"), re.M):
            html = (site / f"{page}.html").read_text(encoding="utf-8")
            assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"' in html
            assert "\\frac" not in re.sub(
                r'alttext="[^"]*"|<script.*?</script>|<pre.*?</pre>', "", html, flags=re.S
            )


def test_every_chapter_links_to_its_lab(site):
    for chapter in course.chapters():
        name = chapter.split("/")[1]
        html = (site / f"{chapter}.html").read_text(encoding="utf-8")
        assert f'href="{name}.ipynb"' in html
        lab = course.homes(chapter).lab.read_text(encoding="utf-8")
        assert (site / f"{chapter}.ipynb").read_text(encoding="utf-8") == lab


def test_every_notebook_can_be_downloaded_and_is_valid(site):
    sources = {page: course.root() / "book" / f"{page}.md" for page in pages()}
    notebooks = [
        page
        for page, path in sources.items()
        if path.exists() and "kernelspec:" in path.read_text()
    ]
    assert set(course.chapters()) <= set(notebooks)
    for page in notebooks:
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        (link,) = re.findall(r'href="([^"]*_sources/[^"]+\.ipynb)"', html)
        path = (site / f"{page}.html").parent / link
        notebook = nbformat.read(path.resolve(), as_version=4)
        nbformat.validate(notebook)
        source = jupytext.read(course.root() / "book" / f"{page}.md", fmt="md:myst")
        assert [c.source for c in notebook.cells] == [c.source for c in source.cells]
        assert any(c.cell_type == "code" for c in notebook.cells)


def test_every_chapter_is_a_card_on_the_landing_page(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    for chapter in course.chapters():
        assert html.count(f'href="{chapter}.html"') >= 2  # in the map, and on its card
    assert html.count('class="chapter-card docutils container"') == len(course.chapters())


def test_the_library_links_to_its_source(site):
    html = (site / "reference.html").read_text(encoding="utf-8")
    for chapter in course.chapters():
        assert f'id="module-toolkit.{chapter.replace("/", ".")}"' in html
    for link, anchor in re.findall(r'href="(_modules/[^"#]+)#([^"]+)"', html):
        assert f'id="{anchor}"' in (site / link).read_text(encoding="utf-8")


def test_every_listing_leads_to_its_source(site):
    for chapter in course.chapters():
        page = site / f"{chapter}.html"
        links = re.findall(r'href="([^"]*_modules/[^"#]+)', page.read_text(encoding="utf-8"))
        for link in links:
            assert (page.parent / link).exists(), f"{chapter} has a dead link to {link}"


GOOD = "# Title\n\n```{code-cell} python\n1 + 1\n```\n\n$x^2$\n"
BROKEN = {
    "{ref}`nowhere`": "undefined label: 'nowhere'",
    "[there](nowhere.md)": "nowhere.md",
    "{cite}`nobody1900`": 'could not find bibtex key "nobody1900"',
    "```{nonesuch}\n```": "Unknown directive type: 'nonesuch'",
    r"$\unheardof{x}$": r"\unheardof is unknown",
}


def project(folder, text):
    folder.mkdir()
    (folder / "index.md").write_text(NOTEBOOK + text, encoding="utf-8")
    (folder / "_toc.yml").write_text("root: index\n", encoding="utf-8")
    (folder / "references.bib").write_text("", encoding="utf-8")
    return folder


def test_a_sound_page_builds(build, tmp_path):
    done = build(project(tmp_path / "book", GOOD), tmp_path / "html")
    assert done.returncode == 0, done.stderr


def test_each_mistake_on_a_page_is_named_and_fails_the_build(build, tmp_path):
    source = project(tmp_path / "book", "\n\n".join([GOOD, *BROKEN]))
    done = build(source, tmp_path / "html")
    assert done.returncode != 0
    lines = (source / "index.md").read_text(encoding="utf-8").split("\n")
    for mistake, said in BROKEN.items():
        line = lines.index(mistake.split("\n")[0]) + 1
        pattern = rf"index\.md:{line}: (WARNING|ERROR): .*{re.escape(said)}"
        assert re.search(pattern, done.stderr), done.stderr


def test_a_cell_that_raises_fails_the_build(build, tmp_path):
    cell = "```{code-cell} python\n1 / 0\n```\n"
    done = build(project(tmp_path / "book", f"{GOOD}\n{cell}"), tmp_path / "html")
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
