"""The landing page's cards and map follow the chapters."""

import pytest
import yaml
from cards import KEYS, Card, read_card

from toolkit import course

FRONT = {"question": "Which?", "minutes": 20, "builds": "a thing.", "picture": "_static/a.svg"}


def page(tmp_path, front, body="# Near-duplicates\n\nText.\n"):
    path = tmp_path / "page.md"
    path.write_text(f"---\n{yaml.safe_dump({'course': front})}---\n{body}", encoding="utf-8")
    return path


def test_a_card_is_read_from_the_page_itself(tmp_path):
    card = read_card("data/dedup", page(tmp_path, FRONT))
    assert card == Card("data/dedup", "Near-duplicates", **FRONT)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(tmp_path, key):
    front = {name: value for name, value in FRONT.items() if name != key}
    with pytest.raises(ValueError, match=rf"data/dedup has course\.{key} = None"):
        read_card("data/dedup", page(tmp_path, front))


def test_minutes_are_a_number(tmp_path):
    with pytest.raises(ValueError, match=r"course\.minutes = '20'.*must be a int"):
        read_card("data/dedup", page(tmp_path, FRONT | {"minutes": "20"}))


def test_a_page_without_front_matter_or_title_is_refused(tmp_path):
    bare = tmp_path / "bare.md"
    bare.write_text("# Title\n", encoding="utf-8")
    for path in (bare, page(tmp_path, FRONT, body="Text only.\n")):
        with pytest.raises(ValueError, match="no front matter and title"):
            read_card("data/dedup", path)


def test_the_plan_knows_every_part_and_every_chapter():
    plan = yaml.safe_load((course.root() / "book" / "plan.yml").read_text(encoding="utf-8"))
    assert list(plan) == list(course.PARTS)
    for chapter in course.chapters():
        part, name = chapter.split("/")
        assert name in plan[part]["chapters"], f"add {name} to {part} in book/plan.yml"
