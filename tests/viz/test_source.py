"""`show(obj)` gives the code as it stands in its file, folded, linked and legible."""

from __future__ import annotations

import inspect
import re
from functools import wraps
from html import unescape
from types import SimpleNamespace

import pytest

import toolkit.course
from toolkit.viz import show
from toolkit.viz.source import Listing


def undocumented(a: str) -> bool:
    return a < "</script>" and "&amp;" in a


class Documented:
    """One line.

    Then more.
    """

    def method(self) -> None:
        """Several
        lines."""

    def brief(self) -> str:
        """One line only."""
        return """not
        a docstring"""


def code_in(html: str) -> str:
    """What a reader sees once everything is unfolded, without the heading."""
    lines = html.split('<div class="tk-lines"')[1].split("<div>")[1]
    lines = re.sub(r"</(summary|pre)>", "\n", lines)
    return unescape(re.sub(r"<[^>]+>", "", lines))


@pytest.mark.parametrize(
    "obj", [toolkit.course.homes, toolkit.course, toolkit.course.Homes, undocumented, Documented]
)
def test_nothing_of_the_source_is_lost_or_changed(obj):
    assert code_in(show(obj).html()).rstrip() == inspect.getsource(obj).rstrip()


def test_a_method_is_shown_from_its_margin():
    assert show(toolkit.course.Homes.missing).code.startswith("def missing(self)")


def test_docstrings_fold_to_their_first_line_and_only_those():
    html = show(Documented).html()
    folded = [
        re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<summary>(.*?)</summary>", html)
    ]
    assert [line.strip() for line in folded] == ['"""One line.', '"""Several']


def test_compiled_and_wrapped_functions_show_the_python_they_were_made_from():
    @wraps(undocumented)
    def wrapper(a: str) -> bool:
        return undocumented(a)

    assert show(wrapper).code == inspect.getsource(undocumented)
    for wrapper in ("py_func", "fn"):  # numba's and triton's
        compiled = SimpleNamespace(**{wrapper: undocumented})
        assert show(compiled).code == inspect.getsource(undocumented)


def test_it_says_where_the_code_stands_without_a_path_of_this_machine():
    line = inspect.getsourcelines(toolkit.course.homes)[1]
    assert show(toolkit.course.homes).place == f"toolkit/course.py:{line}"
    assert show(undocumented).place == "undocumented"


def test_the_site_links_to_the_whole_module_and_a_notebook_does_not(monkeypatch):
    listing = show(toolkit.course.homes)
    assert "<a " not in listing.html()
    monkeypatch.setenv("TOOLKIT_SITE", "1")
    assert '<a href="../_modules/toolkit/course.html#homes">' in listing.html()
    assert '<a href="../_modules/toolkit/course.html">' in show(toolkit.course).html()


def test_plain_text_is_the_code_under_its_place():
    bundle = show(toolkit.course.homes)._repr_mimebundle_()
    assert bundle["text/plain"].splitlines()[0].startswith("# toolkit/course.py:")
    assert bundle["text/plain"].endswith(inspect.getsource(toolkit.course.homes))


@pytest.mark.parametrize("obj", [3, len, None])
def test_what_has_no_source_is_refused_in_one_sentence(obj):
    with pytest.raises(TypeError, match=r"^show\(\) takes a function, class, method or module"):
        show(obj)


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_listing_is_accessible_in_both_themes(publish, visit, theme):
    from axe_playwright_python.sync_playwright import Axe

    body = "".join(show(obj).html() for obj in (toolkit.course, Listing))
    page = visit(publish(body), width=400)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    found = Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    page.locator("summary").first.click()
    page.get_by_text("The parts in reading order").wait_for()
