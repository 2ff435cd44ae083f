"""``FirstFit`` against a row of slots, and ``fragmentation`` by hand and by its shape."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.serving.batching import Request
from toolkit.serving.kv_cache import Fragmentation, fragmentation
from toolkit.serving.kv_cache.extents import FirstFit


def request(number, prompt, output, most):
    return Request(number, 0.0, prompt, output, most)


@settings(deadline=None)
@given(
    size=st.integers(1, 30),
    calls=st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=60),
)
def test_first_fit_against_a_row_of_slots(size, calls):
    extents, row, taken = FirstFit(size), "." * size, []
    for take, number in calls:
        if take:
            start = row.find("." * number)
            assert extents.take(number) == (None if start < 0 else start)
            if start >= 0:
                row = row[:start] + "x" * number + row[start + number :]
                taken.append((start, number))
        elif taken:
            start, number = taken.pop(number % len(taken))
            extents.give_back(start, number)
            row = row[:start] + "." * number + row[start + number :]
        holes = [(i, len(hole)) for i, hole in holes_of(row)]
        assert extents.holes == holes
        assert extents.free == row.count(".")


def holes_of(row):
    start = 0
    for part in row.split("x"):
        if part:
            yield start, part
        start += len(part) + 1


def test_worked_out_by_hand():
    """Two requests of 4 + 4 tokens, that may be 4 + 12, in 16 slots; only one is in at a time.

    The first's tokens after each of its four iterations are 5, 6, 7, 8: on average 6.5 of 16.
    Reserved to its end it leaves 8 slots, into which the second fits; nobody waits then.
    """
    pair = [request(i, 4, 4, 12) for i in range(2)]
    third = request(2, 4, 4, 12)
    contiguous = fragmentation([*pair, third], 16, block_size=4)["contiguous"]
    assert contiguous == Fragmentation(
        tokens=6.5 / 16, reserved=1.5 / 16, internal=0.5, external=0.0, running=1.0, iterations=8
    )
    reserved = fragmentation([*pair, third], 16, block_size=4)["reserved"]
    assert reserved == Fragmentation(
        tokens=13 / 16, reserved=3 / 16, internal=0.0, external=0.0, running=2.0, iterations=4
    )
    # Two begin in 8 slots each. At 8 of its tokens a block's worth of room is used to the end.
    paged = fragmentation([*pair, third], 16, block_size=4)["paged"]
    assert paged == Fragmentation(
        tokens=13 / 16, reserved=0.0, internal=3 / 16, external=0.0, running=2.0, iterations=4
    )


def test_holes_too_small_are_external():
    """In 10 slots: 3 end, 4 stay, and 5 don't fit into what is left on both sides of them."""
    texts = [request(0, 2, 1, 1), request(1, 2, 2, 2), request(2, 4, 1, 1)]
    measured = fragmentation(texts, 10, block_size=1)["reserved"]
    # First iteration: 3 + 3 tokens, 1 reserved, 3 free. Second: 4 tokens, holes of 3 and 3.
    assert measured == Fragmentation(
        tokens=pytest.approx(10 / 20),
        reserved=pytest.approx(1 / 20),
        internal=0.0,
        external=pytest.approx(9 / 20),
        running=1.5,
        iterations=2,
    )


def test_out_of_pages_the_last_to_begin_starts_again():
    """Both begin with 2 of 5 blocks of 2. The first takes the fifth; the second has to wait."""
    measured = fragmentation([request(i, 3, 5, 5) for i in range(2)], 10, block_size=2)["paged"]
    # Nobody waits in the first two iterations (4 + 4 and then 5 + none: it has lost its blocks).
    assert measured.running == 1.0
    assert measured.iterations == 4
    assert measured.tokens == pytest.approx((5 + 6 + 7 + 8) / 40)
    assert measured.internal == pytest.approx((1 + 0 + 1 + 0) / 40)
    assert measured.external == pytest.approx((4 + 4 + 2 + 2) / 40)


def test_who_lost_its_pages_is_the_next_to_begin():
    """The third would fit into the block that is left, and waits behind the second."""
    texts = [request(0, 3, 3, 5), request(1, 3, 3, 5), request(2, 1, 1, 1)]
    measured = fragmentation(texts, 8, block_size=2)["paged"]
    # 4 + 4 tokens; 5, the second has lost its blocks; 6; then both others fit, and nobody waits.
    assert (measured.running, measured.iterations) == (4 / 3, 3)
    assert measured.tokens == pytest.approx((8 + 5 + 6) / 24)


def draw(seed, count=400):
    """Lengths of prompts and answers that are exponential, cut off at 1,000."""
    rng = random.Random(seed)
    lengths = [[1 + int(rng.expovariate(1 / 200)) % 1000 for _ in "po"] for _ in range(count)]
    return [request(i, *pair, 1000) for i, pair in enumerate(lengths)]


@pytest.mark.parametrize("block_size", [1, 16, 64])
def test_shares_are_all_of_it(block_size):
    for method, measured in fragmentation(draw(1), 12_800, block_size=block_size).items():
        shares = (measured.tokens, measured.reserved, measured.internal, measured.external)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        if method == "paged":
            assert measured.reserved == 0
            # less than a block each
            assert measured.internal <= (block_size - 1) * measured.running / 12_800
        if method == "reserved":
            assert measured.internal == 0


def test_pages_hold_tokens_where_extents_hold_room():
    """As published: 20 to 38% of memory with tokens in it, against 96% with pages."""
    measured = fragmentation(draw(2), 12_800)
    assert measured["contiguous"].tokens < 0.38
    assert measured["contiguous"].tokens < measured["reserved"].tokens < 0.9
    assert measured["paged"].tokens > 0.93
    assert measured["paged"].running > 2 * measured["contiguous"].running


@pytest.mark.parametrize(
    ("slots", "block_size", "message"),
    [
        (0, 4, "slots must be at least 1, got 0"),
        (16, 0, "block_size must be at least 1, got 0"),
        (18, 4, "slots must be a multiple of 4, the block size, got 18"),
        (12, 4, "request 0 may have 16 tokens, and there are 12 slots: give more"),
        (64, 4, "no request has to wait for one of 64 slots: give fewer"),
    ],
)
def test_what_is_refused(slots, block_size, message):
    with pytest.raises(ValueError, match=message):
        fragmentation([request(0, 4, 4, 12)], slots, block_size=block_size)


def test_no_requests_are_refused():
    with pytest.raises(ValueError, match="the trace has no requests: there is nothing to serve"):
        fragmentation([], 16)
