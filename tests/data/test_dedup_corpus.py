"""``toolkit.data.dedup`` on licence texts, against exact all-pairs Jaccard."""

import numpy as np
import pytest
from scipy import sparse

from toolkit import assets
from toolkit.data.dedup import (
    all_pairs_jaccard,
    deduplicate,
    jaccard,
    shingle_hashes,
    shingles,
)


@pytest.fixture(scope="module")
def licenses():
    """The licence texts of 20 words or more, as white space parts them."""
    return [text for text in assets.texts("license-texts").texts if len(text.split()) >= 20]


def pairs_of_strings(texts, threshold):
    """All pairs by X X^T over the strings of ``shingles``: no hash, and no code of ``exact``."""
    columns, indices, offsets = {}, [], [0]
    for text in texts:
        indices += [columns.setdefault(shingle, len(columns)) for shingle in shingles(text)]
        offsets.append(len(indices))
    x = sparse.csr_array(
        (np.ones(len(indices)), indices, offsets), shape=(len(texts), len(columns))
    )
    shared = sparse.triu(x @ x.T, k=1).tocoo()
    sizes = np.diff(offsets)
    similarity = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    near = similarity >= threshold
    return {
        (i, j): s
        for i, j, s in zip(
            shared.row[near].tolist(),
            shared.col[near].tolist(),
            similarity[near].tolist(),
            strict=True,
        )
    }


def as_dict(pairs):
    return {(i, j): s for i, j, s in pairs.tolist()}


def test_a_slice_of_the_corpus(licenses):
    texts = licenses[::5]
    assert len(texts) > 2800
    truth = pairs_of_strings(texts, 0.8)
    assert as_dict(all_pairs_jaccard(texts, 0.8)) == truth
    result = deduplicate(texts)
    found = as_dict(result.pairs)
    assert found.items() <= truth.items()
    assert len(found) >= 0.98 * len(truth)
    removed = np.setdiff1d(np.arange(len(texts)), result.kept)
    assert len(removed) > 500
    for document in removed[:50]:
        source = result.duplicate_of[document]
        assert jaccard(shingles(texts[source]), shingles(texts[document])) >= 0.8


def test_hashes_count_as_many_shingles_as_there_are_strings(licenses):
    texts = licenses[::40]
    assert [len(shingle_hashes(text)) for text in texts] == [len(shingles(text)) for text in texts]


@pytest.mark.slow
def test_the_whole_corpus(licenses):
    assert len(licenses) == 14_445
    truth = all_pairs_jaccard(licenses, 0.8)
    assert len(truth) == 91_138
    result = deduplicate(licenses)
    assert np.isin(result.pairs, truth).all()
    assert len(result.pairs) >= 0.98 * len(truth)


@pytest.mark.slow
def test_no_two_shingles_of_the_corpus_share_a_hash(licenses):
    strings, hashes = set(), set()
    for text in licenses:
        strings |= shingles(text)
        hashes.update(shingle_hashes(text).tolist())
    assert len(strings) == len(hashes)
