"""``DedupIndex`` against ``deduplicate``: one by one, in blocks, saved, reopened, broken off."""

import random
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import assets
from toolkit.data.dedup import DedupIndex, Match, deduplicate

METHODS = [
    {},
    {"threshold": 0.5, "seed": 7},
    {"method": "simhash", "radius": 10},
    {"method": "simhash", "radius": 2, "threshold": 0.6},
    {"unit": "char", "ngram": 4, "threshold": 0.7},
]


def arrivals(seed, documents=150):
    """Texts of which most are copies of earlier ones, a few words changed; and empty ones."""
    rng = random.Random(seed)
    texts = []
    for _ in range(documents):
        if texts and rng.random() < 0.7:
            text = rng.choice(texts).split()
            for _ in range(rng.choice([0, 0, 1, 2, 5])):
                if text:
                    text[rng.randrange(len(text))] = f"w{rng.randrange(30)}"
        else:
            text = [f"w{rng.randrange(30)}" for _ in range(rng.choice([0, 2, 30, 90]))]
        texts.append(" ".join(text))
    return texts


def matches_of(batch):
    """What each document should match: the batch's pairs with a kept earlier one."""
    kept = set(batch.kept.tolist())
    matches = [[] for _ in range(batch.documents)]
    for i, j, jaccard in batch.pairs.tolist():
        if i in kept:
            matches[j].append(Match(i, jaccard))
    return matches


def agrees(index, batch):
    return (
        index.documents == batch.documents
        and index.kept.tolist() == batch.kept.tolist()
        and index.duplicate_of.tolist() == batch.duplicate_of.tolist()
        and index.empty.tolist() == batch.empty.tolist()
    )


@pytest.mark.parametrize("how", METHODS)
def test_one_by_one_it_answers_as_the_batch_does(how):
    texts = arrivals(1)
    batch = deduplicate(texts, **how)
    index = DedupIndex(**how)
    assert [index.add(text) for text in texts] == matches_of(batch)
    assert agrees(index, batch)
    first = [matches[0].jaccard if matches else np.nan for matches in matches_of(batch)]
    assert np.array_equal(index.similarity, first, equal_nan=True)
    assert 5 < len(index.kept) < len(texts) - 5


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.lists(st.integers(0, 150), max_size=4))
def test_however_the_arrivals_are_cut_into_calls(seed, how, cuts):
    texts = arrivals(seed)
    batch = deduplicate(texts, **how)
    index = DedupIndex(**how)
    edges = [0, *sorted(cuts), len(texts)]
    answers = [
        index.add_all(texts[start:stop], workers=1 + start % 2) for start, stop in pairwise(edges)
    ]
    assert np.concatenate(answers).tolist() == batch.duplicate_of.tolist()
    assert agrees(index, batch)


def test_tables_grow():
    texts = [f"{i} a text of its own {i * i} with {i} words {-i}" for i in range(3000)]
    index = DedupIndex()
    assert index.add_all(texts[:10]).tolist() == list(range(10))
    assert index.add_all(texts[10:]).tolist() == list(range(10, 3000))
    assert index.add_all(texts).tolist() == list(range(3000))
    assert len(index.kept) == 3000


def test_a_thousand_copies_are_one_kept_document():
    index = DedupIndex()
    assert set(index.add_all(["the same text again and again"] * 1000).tolist()) == {0}
    assert index.add("The same text, again and again!") == [Match(0, 1.0)]


@pytest.mark.parametrize("how", METHODS)
def test_saved_and_reopened_it_goes_on(how, tmp_path):
    texts = arrivals(2)
    batch = deduplicate(texts, **how)
    index = DedupIndex(**how)
    index.add_all(texts[:70])
    index.save(tmp_path / "index")
    index.add_all(texts[70:])  # which the saved one knows nothing of
    reopened = DedupIndex.open(tmp_path / "index")
    assert reopened.documents == 70
    assert reopened.settings == index.settings
    reopened.add_all(texts[70:100])
    reopened.flush({"read": 100})
    reopened.close()
    again = DedupIndex.open(str(tmp_path / "index"))
    assert again.note == {"read": 100}
    assert [again.add(text) for text in texts[100:]] == matches_of(batch)[100:]
    assert agrees(again, batch)


def test_what_was_not_flushed_is_forgotten(tmp_path):
    texts = arrivals(3)
    index = DedupIndex.create(tmp_path / "index")
    index.add_all(texts[:50])
    index.flush()
    index.add_all(texts[50:])
    index.close()
    reopened = DedupIndex.open(tmp_path / "index")
    assert reopened.documents == 50
    reopened.add_all(texts[50:])
    assert agrees(reopened, deduplicate(texts))


def test_a_killed_process_leaves_what_it_flushed(tmp_path):
    code = """
import os, sys
from toolkit.data.dedup import DedupIndex
index = DedupIndex.create(sys.argv[1])
texts = [f"text {i} of {i} words {i}" for i in range(400)]
index.add_all(texts[:300])
index.flush({"texts": 300})
index.add_all(texts[300:])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "index"], check=False)
    index = DedupIndex.open(tmp_path / "index")
    assert (index.documents, index.note) == (300, {"texts": 300})
    assert index.add("text 299 of 299 words 299") == [Match(299, 1.0)]
    assert index.add("text 350 of 350 words 350") == []


def test_one_process_at_a_time(tmp_path):
    index = DedupIndex.create(tmp_path / "index")
    with pytest.raises(ValueError, match="is open in another process: close it there first"):
        DedupIndex.open(tmp_path / "index")
    index.close()
    DedupIndex.open(tmp_path / "index").close()


def test_a_damaged_index_is_named_and_not_locked(tmp_path):
    DedupIndex.create(tmp_path / "index").close()
    state = tmp_path / "index" / "index.json"
    whole = state.read_text()
    state.write_text(whole[:20])
    with pytest.raises(ValueError, match=r"index\.json is damaged: delete .*index, begin anew"):
        DedupIndex.open(tmp_path / "index")
    state.write_text(whole)
    DedupIndex.open(tmp_path / "index").close()


def test_a_folder_that_is_no_place_for_an_index(tmp_path):
    with pytest.raises(ValueError, match=r"holds no index: DedupIndex\.create makes one"):
        DedupIndex.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not empty: choose a new folder"):
        DedupIndex.create(tmp_path)
    with pytest.raises(ValueError, match="is not empty"):
        DedupIndex().save(tmp_path)
    with pytest.raises(ValueError, match="simhash needs a radius"):
        DedupIndex.create(tmp_path / "new", method="simhash")
    assert not (tmp_path / "new").exists()


def test_an_empty_index():
    index = DedupIndex()
    assert index.documents == 0
    assert len(index.kept) == len(index.duplicate_of) == len(index.empty) == 0
    assert index.add_all([]).tolist() == []
    assert index.add("") == []
    assert index.add("...") == []
    assert index.kept.tolist() == index.empty.tolist() == [0, 1]
    index.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_sketches_and_hashes_take_no_memory_of_the_process(tmp_path):
    from toolkit.data.dedup.columns import Column

    def anonymous():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

    block = np.arange(1 << 20, dtype=np.uint64)
    column = Column(np.dtype("u8"), tmp_path / "column")
    before = anonymous()
    for _ in range(24):
        column.append(block)
    assert len(column.rows) == 24 << 20
    assert column.rows.sum() == 24 * int(block.sum())
    assert anonymous() - before < 50_000  # KiB; the rows are 192 MiB
    column.close()


def test_licence_texts_arrive():
    texts = [text for text in assets.texts("license-texts").texts if len(text.split()) >= 20][::4]
    batch = deduplicate(texts)
    index = DedupIndex()
    index.add_all(texts, workers=2)
    assert agrees(index, batch)
    assert len(batch.kept) < len(texts) - 500
