"""Executed pages are cached under a name that changes with the code they ran."""

import pytest
from freshness import cache_folder, fingerprint


@pytest.fixture
def root(tmp_path):
    for path in (
        "toolkit/data/dedup.py",
        "benchmarks/results/data/dedup.json",
        "book/data/dedup.md",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "toolkit/data/dedup.py",
        "toolkit/viz/static/new.js",
        "benchmarks/results/data/dedup.json",
        "book/data/input.csv",
        "book/conf.py",
        "constraints.txt",
    ],
)
def test_it_changes_with_everything_a_page_reads(root, path):
    before = fingerprint(root)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("2", encoding="utf-8")
    assert fingerprint(root) != before


def test_it_changes_when_a_file_is_renamed(root):
    before = fingerprint(root)
    (root / "toolkit/data/dedup.py").rename(root / "toolkit/data/other.py")
    assert fingerprint(root) != before


@pytest.mark.parametrize(
    "path", ["book/data/dedup.md", "book/_build/html/a.svg", "toolkit/notes.txt"]
)
def test_it_stays_when_a_page_or_a_built_file_changes(root, path):
    before = fingerprint(root)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("2", encoding="utf-8")
    assert fingerprint(root) == before


def test_caches_of_older_code_are_deleted_and_the_present_one_kept(root):
    now = cache_folder(root)
    now.mkdir(parents=True)
    (now / "page").write_text("kept", encoding="utf-8")
    assert cache_folder(root) == now
    assert (now / "page").exists()

    (root / "toolkit/data/dedup.py").write_text("2", encoding="utf-8")
    assert cache_folder(root) != now
    assert not now.exists()
