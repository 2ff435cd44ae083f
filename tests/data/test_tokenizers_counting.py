"""Counting and the model of bytes, against dictionaries; threads, against one."""

import random
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.tokenizers import counting, plain
from toolkit.data.tokenizers.counting import PieceCounter, Pieces, chunks, count_all
from toolkit.data.tokenizers.ngrams import MAX_ORDER, NgramModel, RunCounter, Runs, cut

# The first call of a loop compiles it, which no deadline should see.
unhurried = settings(deadline=None)
ROUNDING = 1e-12  # of two logarithms and their difference, in double precision

few_bytes = st.lists(st.sampled_from([0, 0, 97, 98, 0xC3, 0xA9, 255]), min_size=1, max_size=25)
some_texts = st.lists(few_bytes.map(bytes) | st.binary(min_size=1, max_size=12), max_size=6)


def as_chunk(texts):
    joined = np.frombuffer(b"".join(texts), dtype=np.uint8)
    return joined, np.cumsum([len(text) for text in texts], dtype=np.int64)


def as_counter(pieces):
    return Counter(dict(zip(pieces.as_list(), pieces.counts.tolist(), strict=True)))


def runs_as_counter(runs):
    return Counter(
        {
            key.to_bytes(8)[: key & 0xFF]: count
            for key, count in zip(runs.keys.tolist(), runs.counts.tolist(), strict=True)
        }
    )


def longest_runs(texts, order):
    return Counter(text[at : at + order] for text in texts for at in range(len(text)))


def model_of(texts, order, min_count):
    counter = RunCounter(order)
    counter.add(*as_chunk(texts))
    return NgramModel.of(counter.counted(), order, min_count)


# Runs of bytes


@given(some_texts, some_texts, st.integers(1, MAX_ORDER))
@unhurried
def test_runs_are_counted_like_slices(texts, more, order):
    counter, other = RunCounter(order), RunCounter(order)
    counter.add(*as_chunk(texts))
    other.add(*as_chunk(more))
    assert runs_as_counter(counter.counted()) == longest_runs(texts, order)
    together = Runs.together([counter.counted(), other.counted()])
    counter.add(*as_chunk(more))
    for runs in (counter.counted(), together):
        assert runs_as_counter(runs) == longest_runs([*texts, *more], order)
        assert (np.diff(runs.keys.astype(object)) > 0).all()


@pytest.mark.parametrize("order", [3, MAX_ORDER])
def test_more_runs_than_there_is_room_for_at_first(order):
    texts = [np.random.default_rng(0).bytes(150_000)]
    counter = RunCounter(order)
    counter.add(*as_chunk(texts))
    assert runs_as_counter(counter.counted()) == longest_runs(texts, order)


@given(some_texts, st.integers(1, MAX_ORDER), st.integers(1, 3))
@unhurried
def test_the_model_is_that_of_dictionaries(texts, order, min_count):
    model = model_of(texts, order, min_count)
    wanted = plain.continuations(plain.count_ngrams(texts, order), min_count)
    found = model.log_probs()
    assert found == pytest.approx(wanted, abs=ROUNDING)
    assert model.runs == tuple(sum(len(run) == n for run in wanted) for n in range(1, order + 1))


def test_ngrams_said_out():
    counts = plain.count_ngrams([b"aab", b"ab"], 2)
    assert counts == {b"": 5, b"a": 3, b"b": 2, b"aa": 1, b"ab": 2}
    found = plain.continuations(counts, 2)
    assert found[b"ab"] == pytest.approx(np.log(2 / 3))
    assert found[b"a"] == pytest.approx(np.log(3 / (5 + 254)))
    assert found[b"z"] == pytest.approx(np.log(1 / (5 + 254)))
    assert b"aa" not in found


@given(some_texts, few_bytes.map(bytes), st.integers(1, MAX_ORDER), st.integers(1, 3))
@unhurried
def test_cuts_are_those_of_the_plain_version(texts, unseen, order, min_count):
    model = model_of(texts, order, min_count)
    every, log_probs = [*texts, unseen], model.log_probs()
    joined, ends = as_chunk(every)
    for ensure_unicode, spell_rare in product((False, True), (False, True)):
        found = cut(model, joined, ends, ensure_unicode, spell_rare).tolist()
        wanted = [
            piece
            for text in every
            for piece in plain.cut_by_ngrams(text, log_probs, order, ensure_unicode, spell_rare)
        ]
        content = joined.tobytes()
        assert [content[start:end] for start, end in pairwise([0, *found])] == wanted


def by_states(text, log_probs, order, ensure_unicode):
    """The best sequence of states of all there are: the probability of each, byte by byte."""
    every = [((), 0.0)]
    for i, byte in enumerate(text):
        longer = []
        for states, score in every:
            went_on = min(states[-1] + 1, order - 1) if states else 0
            for state in {0, went_on}:
                if state == 0 and ensure_unicode and 0x80 <= byte < 0xC0:
                    continue
                run = text[i - state : i + 1]
                if run in log_probs:
                    longer.append(((*states, state), score + log_probs[run]))
        every = longer
    return every


@given(few_bytes.map(lambda some: bytes(some[:9])), st.integers(1, 4), st.booleans())
@unhurried
def test_the_plain_cut_is_the_best_of_all_sequences_of_states(text, order, ensure_unicode):
    log_probs = plain.continuations(plain.count_ngrams([text, b"aabab" * 3], order), 2)
    every = by_states(text, log_probs, order, ensure_unicode)
    if not every:
        return  # there is no way to cut it as asked
    pieces = plain.cut_by_ngrams(text, log_probs, order, ensure_unicode)
    assert b"".join(pieces) == text
    states = [min(n, order - 1) for piece in pieces for n in range(len(piece))]
    if order == 1:  # every byte is a state 0, and so a piece
        assert all(len(piece) == 1 for piece in pieces)
    scores = dict(every)
    assert scores[tuple(states)] == pytest.approx(max(scores.values()), abs=1e-9)


# Pieces


def test_pieces_are_counted_like_slices_in_any_size():
    rng = random.Random(0)
    counter, wanted = PieceCounter(), Counter()
    for _ in range(3):  # tables, bytes and entries all outgrow what they start with
        pieces = [rng.randbytes(rng.choice([1, 1, 2, 3, 30])) for _ in range(30_000)]
        counter.add(*as_chunk(pieces))
        wanted.update(pieces)
    counter.add(*as_chunk([b"a" * 200_000, b"b" * 200_001]))
    wanted.update([b"a" * 200_000, b"b" * 200_001])
    assert as_counter(counter.counted()) == wanted


@given(st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 2**40)), max_size=30))
@unhurried
def test_pieces_may_carry_counts(weighted):
    counter, wanted = PieceCounter(), Counter()
    counts = np.array([count for _, count in weighted], dtype=np.int64)
    counter.add(*as_chunk([piece for piece, _ in weighted]), counts)
    for piece, count in weighted:
        wanted[piece] += count
    assert as_counter(counter.counted()) == wanted


@given(st.dictionaries(st.binary(max_size=4), st.integers(1, 99), max_size=20), st.data())
@unhurried
def test_pieces_are_chosen_and_ordered(counts, data):
    pieces = Pieces.of(counts)
    assert len(pieces) == len(counts)
    assert pieces.lengths.tolist() == [len(piece) for piece in counts]
    assert [*as_counter(pieces).items()] == [*counts.items()]
    in_order = [*as_counter(pieces.in_order()).items()]
    assert in_order == sorted(counts.items())
    which = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))), dtype=bool
    )
    places = np.flatnonzero(which)[::-1]
    wanted = [item for item, one in zip(counts.items(), which, strict=True) if one]
    assert [*as_counter(pieces.chosen(which)).items()] == wanted
    assert [*as_counter(pieces.chosen(places)).items()] == wanted[::-1]


# Chunks and threads


def test_chunks_are_the_texts_that_are_not_empty(monkeypatch):
    monkeypatch.setattr(counting, "CHUNK", 6)
    texts = ["", "ab", "", "中c", "defghijkl", "m", ""]
    found = [
        (text.tobytes().decode(), ends.tolist()) for text, ends in chunks(texts, str.upper, "")
    ]
    assert found == [("AB中C", [2, 6]), ("DEFGHIJKL", [9]), ("M", [1])]
    assert list(chunks(["", ""], None, "")) == []
    with pytest.raises(ValueError, match="surrogate"):
        list(chunks(["a", "\ud800"], None, ""))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_counters_counts_everything_once(workers):
    parts = [as_chunk([bytes(random.Random(n).choices(b"abc", k=n % 7))] * 3) for n in range(60)]
    counters = count_all(
        iter(parts), [PieceCounter() for _ in range(workers)], lambda _, ends: ends
    )
    assert len(counters) == workers
    wanted = Counter()
    for joined, ends in parts:
        content = joined.tobytes()
        wanted.update(content[a:b] for a, b in pairwise([0, *ends.tolist()]))
    assert sum((as_counter(c.counted()) for c in counters), Counter()) == wanted


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_an_error_in_a_thread_reaches_the_caller(workers):
    """Nothing waits for ever, though there are more chunks than the queue holds."""
    parts = [as_chunk([b"abc"])] * 50
    for fails_from in (0, 25):
        seen = []

        def fail(_, ends, seen=seen, fails_from=fails_from):
            seen.append(1)
            if len(seen) > fails_from:
                raise MemoryError("of a thread")
            return ends

        with pytest.raises(MemoryError, match="of a thread"):
            count_all(parts, [PieceCounter() for _ in range(workers)], fail)
        assert len(seen) <= fails_from + 2 * workers + 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_texts_reaches_the_caller(workers):
    def parts():
        yield from [as_chunk([b"abc"])] * 9
        raise OSError("of the texts")

    with pytest.raises(OSError, match="of the texts"):
        count_all(parts(), [PieceCounter() for _ in range(workers)], lambda _, ends: ends)
