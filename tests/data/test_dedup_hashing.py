"""The loops over UTF-8 and over sorted hashes, against Python's own strings and fractions."""

import os
import random
import sys
import unicodedata
from fractions import Fraction
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.compiled import drop_outdated
from toolkit.data.dedup import MinHasher, deduplicate, shingle_hashes, shingle_sets, shingles
from toolkit.data.dedup.blocks import blocks, check_workers, in_parallel
from toolkit.data.dedup.exact import jaccard_if_near
from toolkit.data.dedup.folding import case_folds, fold_case

unhurried = settings(deadline=None)


def folded(texts):
    """What ``fold_case`` makes of texts laid end to end, as strings again."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    codes, ends = fold_case(utf8, offsets, *case_folds())
    return ["".join(map(chr, codes[a:b])) for a, b in pairwise(ends)]


def test_every_code_point_folds_as_python_folds_it():
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    assert folded(everything) == [character.casefold() for character in everything]


@pytest.mark.parametrize("odd", ["A", "É", "ß", "ΐ", "中", "𐐀", "\ud800", "İ"])
def test_a_character_across_the_edge_of_a_run_is_read_whole(odd):
    texts = ["aB" * 40 + odd + "Cd" * 40, "x" * 63 + odd, "x" * 62 + odd * 3, odd * 200, ""]
    texts += ["X" * length + odd for length in range(58, 70)]
    assert folded(texts) == [text.casefold() for text in texts]


@unhurried
@given(st.lists(st.text(st.characters(), max_size=150), max_size=5))
def test_any_texts_fold(texts):
    assert folded(texts) == [text.casefold() for text in texts]


@pytest.mark.parametrize("unit", ["word", "char"])
def test_long_texts_of_every_script_have_the_hashes_of_their_strings(unit):
    rng = random.Random(5)
    letters = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c))[0] in "LMNZPS"]
    letters += [chr(c) for c in range(0x3000) if chr(c).isspace()] * 20
    texts = ["".join(rng.choices(letters, k=400)) for _ in range(40)]
    for n in (1, 3):
        ids = {}
        strings = [{ids.setdefault(s, len(ids)) for s in shingles(t, n, unit)} for t in texts]
        hashes = [set(shingle_hashes(text, n, unit).tolist()) for text in texts]
        for a, x in zip(strings, hashes, strict=True):
            for b, y in zip(strings, hashes, strict=True):
                assert len(a & b) == len(x & y)


def test_documents_in_a_block_are_hashed_as_they_are_alone():
    texts = ["a b", "", "C\u0301 d e f g h", "中文字", " ", "a b"]
    for unit in ("word", "char"):
        sets = shingle_sets(texts, 2, unit)
        for index, text in enumerate(texts):
            assert sets[index].tolist() == shingle_hashes(text, 2, unit).tolist()


@unhurried
@given(
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(0, 30)),
    st.integers(1, 99).map(lambda p: p / 100),
)
def test_similarity_or_nought_below_the_threshold(a, b, threshold):
    x, y = (np.array(sorted(s), dtype=np.uint64) for s in (a, b))
    exact = Fraction(len(a & b), len(a | b)) if a | b else Fraction(0)
    expected = float(exact) if float(exact) >= threshold else 0.0
    assert jaccard_if_near(x, y, threshold) == expected


def test_a_pair_exactly_at_the_threshold_is_near():
    for both in range(1, 60):
        for union in range(both, 80):
            a = np.arange(both, dtype=np.uint64)
            b = np.arange(union, dtype=np.uint64)
            assert jaccard_if_near(a, b, both / union) == both / union
            assert jaccard_if_near(b, a, np.nextafter(both / union, 2)) == 0


# Blocks and workers


@given(st.lists(st.text(max_size=5)), st.integers(1, 12))
def test_blocks_hold_every_text_in_order(texts, size):
    cut = list(blocks(texts, size))
    assert list(chain(*cut)) == texts
    lengths = [sum(map(len, block)) for block in cut]
    assert all(length >= size for length in lengths[:-1])
    assert all(cut)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_order_and_no_more_is_read_than_is_needed(workers):
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    results = in_parallel(lambda item: item * item, items(), workers)
    assert next(results) == 0
    assert len(read) <= 2 * workers + 1
    assert list(results) == [item * item for item in range(1, 100)]


def test_an_error_in_one_block_is_raised():
    def fails(item):
        if item == 5:
            raise ValueError("five")
        return item

    with pytest.raises(ValueError, match="five"):
        list(in_parallel(fails, range(1000), 2))


def test_workers_change_no_answer():
    rng = random.Random(2)
    texts = [" ".join(f"w{rng.randrange(300)}" for _ in range(700)) for _ in range(300)]
    texts += [text + " end" for text in texts[::3]]
    alone = MinHasher().signatures(texts, workers=1)
    batch = deduplicate(texts, workers=1)
    assert len(list(blocks(texts))) > 3
    for workers in (2, 5, None):
        assert (MinHasher().signatures(texts, workers=workers) == alone).all()
        again = deduplicate(texts, workers=workers)
        assert (again.pairs == batch.pairs).all()
        assert (again.kept == batch.kept).all()


def test_workers_are_as_many_as_there_are_cores_unless_named():
    assert check_workers(None) >= 1
    assert check_workers(3) == 3
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        check_workers(0)
    with pytest.raises(TypeError, match="workers must be a whole number, got 'all'"):
        check_workers("all")


def test_compiled_loops_that_are_older_than_a_module_are_dropped(tmp_path):
    cached = tmp_path / "__pycache__"
    cached.mkdir()
    for name, seconds in (("a.py", 10), ("b.py", 20)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    for name, seconds in (("a.f.nbi", 15), ("a.g.nbi", 25)):
        (cached / name).touch()
        os.utime(cached / name, (seconds, seconds))
    drop_outdated(tmp_path)
    assert [path.name for path in cached.iterdir()] == ["a.g.nbi"]
