"""Maths becomes MathML while building, or an error that names the formula."""

from xml.etree.ElementTree import fromstring

import pytest
from mathml import MathError, to_mathml

NS = "{http://www.w3.org/1998/Math/MathML}"


def test_a_fraction_is_a_fraction_of_two_parts():
    math = fromstring(to_mathml(r"\frac{|A \cap B|}{|A \cup B|}", display=True))
    (fraction,) = math.iter(f"{NS}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["|A∩B|", "|A∪B|"]


@pytest.mark.parametrize(("display", "said"), [(True, "block"), (False, "inline")])
def test_display_and_inline_are_told_apart(display, said):
    assert fromstring(to_mathml("s^r", display=display)).get("display") == said


@pytest.mark.parametrize("latex", ["a < b", r"\text{a<b and c>d}", 'a"b'])
def test_markup_in_a_formula_is_text_not_tags(latex):
    math = fromstring(to_mathml(latex, display=False))
    assert math.get("alttext") == latex
    letters = "".join(math.itertext()).replace("\u00a0", " ")
    assert letters.replace(" ", "") == latex.removeprefix(r"\text{").rstrip("}").replace(" ", "")


@pytest.mark.parametrize("name", ["aligned", "align", "align*", "split"])
def test_aligned_rows_meet_at_their_sign(name):
    latex = rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}"
    math = fromstring(to_mathml(latex, display=True))
    rows = [["".join(cell.itertext()) for cell in row] for row in math.iter(f"{NS}mtr")]
    assert rows == [["a", "=b"], ["c", "=d"]]
    left, right = next(math.iter(f"{NS}mtr"))
    assert left.get("style") == "text-align: right; padding-right: 0"
    assert right.get("style") == "text-align: left; padding-left: 0"


@pytest.mark.parametrize(
    ("latex", "named"),
    [
        (r"\foo{x}", r"\foo"),
        (r"a & b", "&"),
        (r"a \\ b", "line break"),
        (r"\begin{gathered} a \\ b \end{gathered}", "line break"),
        (r"\frac{a}", "mfrac"),
        (r"x_{", "malformed"),
    ],
)
def test_what_would_be_shown_wrong_is_an_error(latex, named):
    with pytest.raises(MathError) as caught:
        to_mathml(latex, display=True)
    assert named in str(caught.value)
    assert latex in str(caught.value)
