"""The checks of the KV cache lab. Expected values come from lists of who reads what, from hashlib,
and from tables of all prefixes: no tree is walked to say what a tree should be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.classroom import expect, question, require

Text = tuple[int, ...]

# -- q1 ------------------------------------------------------------------------------------------


def as_it_should_be(pool: Any, sequences: list[list[int]], unused: list[int]) -> None:
    """A block has as many readers as sequences have it; the others are unused."""
    count = len(unused) + len({block for blocks in sequences for block in blocks})
    expect(pool.readers, [sum(block in blocks for blocks in sequences) for block in range(count)])
    expect(pool.unused, unused)


@question(
    "q1",
    points=1,
    hints=[
        "`self.unused[:count]` are the blocks to hand out, `self.unused[count:]` those that are "
        "left. Each block that is handed out has one reader.",
        "Look before anything changes: `if count > len(self.unused): return None`.",
    ],
)
def blocks_are_handed_out_once(answer, rng):
    """Blocks are handed out from the front, all that were asked for or none."""
    first, second = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    pool = answer.BlockAllocator(6)
    expect(pool.allocate(first), list(range(first)))
    as_it_should_be(pool, [[*range(first)]], [*range(first, 6)])
    expect(pool.allocate(7 - first), None)
    as_it_should_be(pool, [[*range(first)]], [*range(first, 6)])
    expect(pool.allocate(second), list(range(first, first + second)))
    expect(pool.allocate(6 - first - second), list(range(first + second, 6)))
    expect(pool.allocate(1), None)
    as_it_should_be(pool, [[*range(6)]], [])


@question(
    "q1",
    points=1,
    hints=[
        "Two sequences that share a block are two readers: `share` adds one, `free` takes one "
        "away, and the block is unused once there are none.",
    ],
)
def a_block_is_unused_when_its_last_reader_has_gone(answer, rng):
    """A shared block is unused when its last reader has let go of it, and not before."""
    pool = answer.BlockAllocator(3)
    pool.allocate(2)
    pool.share([0])
    as_it_should_be(pool, [[0, 1], [0]], [2])
    pool.share([0])
    as_it_should_be(pool, [[0, 1], [0], [0]], [2])
    pool.free([0])
    as_it_should_be(pool, [[0, 1], [0]], [2])
    blocks, left, unused = ([0], [[0, 1]], [2]) if rng.integers(2) else ([1], [[0], [0]], [2, 1])
    pool.free(blocks)
    as_it_should_be(pool, left, unused)


@question(
    "q1",
    points=1,
    hints=[
        "`for block in reversed(blocks)`, and `self.unused.append(block)`: the last block of a "
        "sequence is the first of it to come to the end of the list.",
    ],
)
def the_end_of_a_sequence_is_reused_first(answer, rng):
    """Of a sequence that ends, the last block is reused first, after those unused before."""
    pool = answer.BlockAllocator(7)
    one, other = pool.allocate(3), pool.allocate(2)
    ended, goes_on = ([0, 1, 2], [3, 4]) if rng.integers(2) else ([3, 4], [0, 1, 2])
    expect([one, other], [[0, 1, 2], [3, 4]])
    pool.free(ended)
    as_it_should_be(pool, [goes_on], [5, 6, *ended[::-1]])
    expect(pool.allocate(3), [5, 6, ended[-1]])


@question(
    "q1",
    points=1,
    hints=[
        "With one reader there is nobody to disturb: the block itself. With more, `allocate(1)` "
        "gives the copy, and the block has one reader less.",
        "`allocate(1)` gives a list, or None where nothing is unused: then `readers` stay as they "
        "are.",
    ],
)
def who_writes_disturbs_nobody(answer, rng):
    """Who writes to a block that others read has a copy from then on; who is alone has not."""
    pool = answer.BlockAllocator(4)
    pool.allocate(2)
    shared = int(rng.integers(2))
    pool.share([shared])
    expect(pool.write(1 - shared), 1 - shared)
    as_it_should_be(pool, [[0, 1], [shared]], [2, 3])
    expect(pool.write(shared), 2)
    as_it_should_be(pool, [[0, 1], [2]], [3])
    expect(pool.write(shared), shared)
    pool.share([2])
    pool.share([2])
    as_it_should_be(pool, [[0, 1], [2], [2], [2]], [3])
    expect(pool.write(2), 3)
    as_it_should_be(pool, [[0, 1], [2], [2], [3]], [])
    expect(pool.write(2), None)
    as_it_should_be(pool, [[0, 1], [2], [2], [3]], [])


# -- q2 ------------------------------------------------------------------------------------------


def chained(tokens: list[int], block_size: int) -> list[bytes]:
    """The keys by their formula, each computed from the very beginning."""
    keys = []
    for blocks in range(1, len(tokens) // block_size + 1):
        key = bytes(16)
        for i in range(blocks):
            block = tokens[i * block_size : (i + 1) * block_size]
            packed = b"".join(token.to_bytes(8, "little") for token in block)
            key = hashlib.blake2b(key + packed, digest_size=16).digest()
        keys.append(key)
    return keys


def draw_tokens(rng: np.random.Generator, count: int) -> list[int]:
    return rng.integers(0, 50_000, count).tolist()


def looked_up(answer, tokens: list[int], block_size: int, missing: Set[int] = frozenset()) -> None:
    """Look a prompt up where all of its blocks are kept but some: its keys, and what hits."""
    keys = chained(tokens, block_size)
    kept = {key for i, key in enumerate(keys) if i not in missing}
    hit = max(
        hit
        for hit in range(0, len(tokens), block_size)
        if all(key in kept for key in keys[: hit // block_size])
    )
    expect(answer.lookup_prefix(tokens, block_size, kept), (keys, hit))


@question(
    "q2",
    points=1,
    hints=[
        "The first block's parent is `ROOT`. What is the second one's?",
        "A loop with `parent = hash_block(parent, ...)`, and each parent appended to the keys.",
        "`len(tokens) // block_size` blocks are full. What is left over will get more tokens.",
    ],
)
def a_key_depends_on_the_key_before(answer, rng):
    """Each full block has a key, made of its tokens and of the key before."""
    for length, block_size in ((3, 3), (4, 2), (20, 4), (9, 4), (11, 4), (3, 4)):
        tokens = draw_tokens(rng, length)
        expect(answer.lookup_prefix(tokens, block_size, set()), (chained(tokens, block_size), 0))
    twice = draw_tokens(rng, 4) * 2
    expect(answer.lookup_prefix(twice, 4, set()), (chained(twice, 4), 0))


@question(
    "q2",
    points=1,
    hints=[
        "Go through the keys in order, and stop at the first that is not kept: what comes after it "
        "can't be used, for no token before it may be missing.",
    ],
)
def a_prompt_hits_up_to_the_first_gap(answer, rng):
    """A prompt hits up to the first block that is not kept, in tokens."""
    tokens = draw_tokens(rng, 22)
    for missing in ({int(rng.integers(1, 4))}, {0}, {2, 3}, {4}, {9}):
        looked_up(answer, tokens, 4, missing)


@question(
    "q2",
    points=1,
    hints=[
        "The last token is computed, and its block with it: only `(len(tokens) - 1) // block_size` "
        "blocks may hit.",
    ],
)
def the_last_token_is_computed(answer, rng):
    """The last token of a prompt is computed in any case, with its block."""
    for length in (8, 9, 5, 4, 1):
        looked_up(answer, draw_tokens(rng, length), 4)


# -- trees, from q3 on ---------------------------------------------------------------------------


@dataclass
class Node:
    """Crosses as the lab's."""

    label: list[int]
    blocks: list[int]
    children: dict[int, Node]
    used: int
    locks: int


@dataclass
class Texts:
    """What was inserted when, and what is locked: a tree's content, without a tree.

    Attributes:
        inserted: pages and blocks of each text, in order; the first at time 1.
        locked: texts, each inserted as well.
    """

    inserted: list[tuple[Text, list[int]]]
    locked: list[Text]

    def __post_init__(self) -> None:
        self.block: dict[Text, int] = {}
        self.used: dict[Text, int] = {}
        for now, (text, blocks) in enumerate(self.inserted, 1):
            for i in range(len(text)):
                self.block.setdefault(text[: i + 1], blocks[i])
                self.used[text[: i + 1]] = now

    def known(self, pages: Text) -> list[int]:
        """The blocks of the longest prefix that some text has, by trying all."""
        longest = max(i for i in range(len(pages) + 1) if not i or pages[:i] in self.block)
        return [self.block[pages[: i + 1]] for i in range(longest)]

    def ends(self) -> list[Text]:
        """Where nodes end: where a text does, or where two of them part."""
        parts = {text for text, _ in self.inserted if text}
        for prefix in self.block:
            if len({other for other in self.block if other[:-1] == prefix}) > 1:
                parts.add(prefix)
        return sorted(parts)

    def tree(self, gone: Set[Text] = frozenset()) -> Node:
        """The tree, less the nodes that end where ``gone`` says."""
        root = Node([], [], {}, 0, len(self.locked))
        nodes: dict[Text, Node] = {(): root}
        for end in self.ends():  # a prefix comes before what it is a prefix of
            if end in gone:
                continue
            above = max((one for one in nodes if one == end[: len(one)]), key=len)
            run = [end[: i + 1] for i in range(len(above), len(end))]
            label, blocks = list(end[len(above) :]), [self.block[prefix] for prefix in run]
            locks = sum(text[: len(end)] == end for text in self.locked)
            nodes[end] = Node(label, blocks, {}, self.used[end], locks)
            nodes[above].children[label[0]] = nodes[end]
        return root


def draw_texts(rng: np.random.Generator, count: int, locked: int = 0) -> Texts:
    """Texts of three pages that often begin alike, and blocks that are no pages."""
    inserted = []
    for i in range(count):
        length = int(rng.integers(2, 8))
        text = tuple((rng.random(length) < 0.3).astype(int).tolist())
        text = (int(rng.integers(3)), *text)
        inserted.append((text, [100 + 10 * i + j for j in range(len(text))]))
    picked = rng.choice(count, locked, replace=False).tolist()
    return Texts(inserted, [inserted[i][0] for i in picked])


def expect_tree(found: Any, expected: Node) -> None:
    """Compare trees, whatever the root's own ``used`` is: it means nothing."""
    if getattr(found, "_name", None) == "Node":
        expected = Node(expected.label, expected.blocks, expected.children, found.used, 0)
        expected.locks = found.locks
    expect(found, expected)


# -- q3 ------------------------------------------------------------------------------------------


RUN = {7: Node([7, 8, 9], [20, 21, 22], {4: Node([4, 5], [30, 31], {}, 1, 0)}, 2, 0)}


@question(
    "q3",
    points=1,
    hints=[
        "Which child can go on with the text? Only `node.children.get(page)`, with the next page.",
        "`shared_length(child.label, rest)` pages of the rest match, and as many blocks of the "
        "child are found. If that is not its whole run, the walk ends there.",
        "Else go on from the child, with the pages after it.",
    ],
)
def a_text_is_found_as_far_as_one_goes(answer, rng):
    """The blocks of the longest prefix, also where it ends in the middle of a run."""
    root = Node([], [], RUN, 0, 0)
    for pages, blocks in (
        ([7, 8, 9], [20, 21, 22]),
        ([7, 8, 9, 4, 5, 6], [20, 21, 22, 30, 31]),
        ([7, 8, 1], [20, 21]),
        ([7], [20]),
        ([7, 8, 9, 4], [20, 21, 22, 30]),
        ([8, 9], []),
        ([7, 9, 4], [20]),
        ([7, 8, 4, 5], [20, 21]),
        ([], []),
    ):
        expect(answer.match_prefix(root, pages), blocks)


@question(
    "q3",
    points=1,
    hints=["Follow one of the texts by hand: which nodes does it go through, and how far in each?"],
)
def any_text_is_found_in_any_tree(answer, rng):
    """In trees at random, texts that are there, begin there, go on, and are not there."""
    for count in (3, 8):
        texts = draw_texts(rng, count)
        root = texts.tree()
        asked = [text for text, _ in draw_texts(rng, 4).inserted]
        asked += [text[: int(rng.integers(1, len(text)))] for text, _ in texts.inserted]
        asked += [(*text, 9) for text, _ in texts.inserted[:2]]
        for pages in asked:
            expect(answer.match_prefix(root, list(pages)), texts.known(pages))


@question(
    "q3",
    points=1,
    hints=["`+=` makes the list on its left longer, wherever that is from: begin with `[]`."],
)
def looking_changes_nothing(answer, rng):
    """Looking leaves the tree as it was."""
    texts = draw_texts(rng, 6)
    root = texts.tree()
    for text, _ in texts.inserted:
        pages = [*text[:-1], 9, 9]
        after = answer.call_inplace("match_prefix", root, pages)
        expect(after.result, texts.known(tuple(pages)))
        same = after.args == [answer.as_crossed(root), pages]
        require(same, "it changes the tree or the pages that it is given", after.result)


# -- q4 ------------------------------------------------------------------------------------------


@question(
    "q4",
    points=1,
    hints=[
        "Two new nodes: `label[:at]` with `blocks[:at]`, and `label[at:]` with `blocks[at:]`.",
        "The lower half is the upper one's only child, found by the first page of **its** run.",
    ],
)
def a_run_is_cut_in_two(answer, rng):
    """A split cuts the run and its blocks, and the lower half is found by its first page."""
    run = (50 + rng.permutation(5)).tolist()
    for at in (1, 2, 4):
        lower = Node(run[at:], list(range(at, 5)), {}, 3, 0)
        upper = Node(run[:at], list(range(at)), {run[at]: lower}, 3, 0)
        expect(answer.split_node(Node(run, [*range(5)], {}, 3, 0), at), upper)


@question(
    "q4",
    points=1,
    hints=[
        "The children, `used` and `locks` of the node: the lower half takes the children, and "
        "both halves have its `used` and its `locks`.",
    ],
)
def both_halves_are_what_the_node_was(answer, rng):
    """Children go with the lower half; both halves keep when the node was used and who locks it."""
    used, locks = int(rng.integers(5, 9)), int(rng.integers(1, 4))
    below = {4: Node([4], [9], {}, 5, 1), 6: Node([6, 1], [7, 8], {}, 2, 0)}
    lower = Node([3], [12], below, used, locks)
    upper = Node([1, 2], [10, 11], {3: lower}, used, locks)
    expect(answer.split_node(Node([1, 2, 3], [10, 11, 12], below, used, locks), 2), upper)


# -- q5 ------------------------------------------------------------------------------------------


def inserted(answer, texts: Texts) -> None:
    """Insert the last text into the tree of those before."""
    before = Texts(texts.inserted[:-1], texts.locked)
    pages, blocks = texts.inserted[-1]
    found = answer.insert_prefix(before.tree(), list(pages), blocks, len(texts.inserted))
    expect_tree(found, texts.tree())


def texts_of(*rows: Text, locked: list[Text] | None = None) -> Texts:
    inserted = [(row, [10 * i + j for j in range(len(row))]) for i, row in enumerate(rows, 2)]
    return Texts(inserted, locked or [])


@question(
    "q5",
    points=1,
    hints=[
        "Where no child goes on with the text, there is a new one: "
        "`node.children[pages[0]] = Node(pages, blocks, used=now)`.",
        "Below a child that matches as a whole, go on with `pages[shared:]` and `blocks[shared:]`.",
    ],
)
def what_is_new_hangs_where_the_walk_ends(answer, rng):
    """What the tree lacks becomes a leaf where the walk ends, with its own blocks."""
    a, b, c = (rng.permutation(90)[:3] + 1).tolist()
    inserted(answer, texts_of((a, b)))
    inserted(answer, texts_of((a, b), (c,)))
    inserted(answer, texts_of((a, b), (a, b, c, a)))
    inserted(answer, texts_of((a,), (a, b), (a, b, c)))


@question(
    "q5",
    points=1,
    hints=[
        "If only part of the child's run is shared, put `split_node(child, shared)` in its place: "
        "`node.children[pages[0]] = ...`. Its upper half is what you go on from.",
        "That is also so where the text ends there, and nothing is left of it.",
    ],
)
def a_run_that_is_left_is_split(answer, rng):
    """A run that the text leaves, or in which it ends, is split there."""
    a, b, c, d = (rng.permutation(90)[:4] + 1).tolist()
    inserted(answer, texts_of((a, b, c), (a, b, d)))
    inserted(answer, texts_of((a, b, c), (a, d), locked=[(a, b, c)]))
    inserted(answer, texts_of((a, b, c, d), (a, b)))
    inserted(answer, texts_of((a, b, c), (a, b, c, d, d), (a, b, c, d, a)))


@question(
    "q5",
    points=1,
    hints=["`child.used = now` for each node on the way, after it may have been split."],
)
def the_whole_way_was_used_now(answer, rng):
    """Every node on the text's way was used now, and no other."""
    a, b, c, d = (rng.permutation(90)[:4] + 1).tolist()
    inserted(answer, texts_of((a, b, c, d), (a, b), (c, d), (a, b, c, d)))
    inserted(answer, texts_of((a, b, c), (c, a), (a, b, d)))


@question("q5", points=1, hints=["Draw the tree of the first text, and add one after the other."])
def any_text_goes_into_any_tree(answer, rng):
    """Texts at random, one after the other, with locks where requests run."""
    for count, locked in ((2, 1), (5, 2), (9, 3)):
        texts = draw_texts(rng, count + 1)
        texts.locked += [text for text, _ in texts.inserted[:locked]]
        inserted(answer, texts)


# -- q6 ------------------------------------------------------------------------------------------


def without_leaves(texts: Texts, count: int) -> tuple[list[int], Node]:
    """By a table of where nodes end: a leaf's end is the beginning of no other."""
    gone: set[Text] = set()
    freed: list[int] = []
    while len(freed) < count:
        ends = [end for end in texts.ends() if end not in gone]
        leaves = [
            end
            for end in ends
            if sum(other[: len(end)] == end for other in ends) == 1
            and not any(text[: len(end)] == end for text in texts.locked)
        ]
        if not leaves:
            break
        first = min(leaves, key=lambda end: texts.used[end])
        above = max(len(end) for end in [(), *ends] if end == first[: len(end)] and end != first)
        freed += [texts.block[first[: i + 1]] for i in range(above, len(first))]
        gone.add(first)
    return freed, texts.tree(gone)


def evicted(answer, texts: Texts, count: int) -> None:
    expect(answer.evict_leaves(texts.tree(), count), without_leaves(texts, count))


@question(
    "q6",
    points=1,
    hints=[
        "Collect all leaves with the node above each: `for child in node.children.values()`, and "
        "the same for each child. A list of nodes that grows while you go through it will do.",
        "The first to go is `min(leaves, key=lambda leaf: leaf.used)`: take it out of its parent's "
        "children, by the first page of its run, and put its blocks to the freed ones.",
        "Do that until `len(freed) >= count`.",
    ],
)
def the_least_recently_used_leaf_goes_first(answer, rng):
    """The least recently used leaf goes first, as a whole, and no more than it takes."""
    order = (rng.permutation(80)[:4] + 1).tolist()
    rows = [
        (page, *range(90, 90 + length)) for page, length in zip(order, (1, 2, 1, 3), strict=True)
    ]
    for count in (1, 2, 3, 5, 6):
        evicted(answer, texts_of(*rows), count)
    evicted(answer, texts_of(*rows, rows[0]), 1)


@question(
    "q6",
    points=1,
    hints=["Look for the leaves again after each one that went: its parent may be one by now."],
)
def parents_become_leaves(answer, rng):
    """A node without children is a leaf, and waits its turn with the others."""
    a, b, c = (rng.permutation(90)[:3] + 1).tolist()
    chain = ((a,), (a, b), (a, b, c))
    for count in (1, 2, 3):
        evicted(answer, texts_of(*chain), count)
    evicted(answer, texts_of((a, b, c), (a, b, b), (c,)), 3)
    evicted(answer, texts_of((a, b, c), (a, b, b), (c,)), 5)
    evicted(answer, texts_of((a, b), (c,), (a,)), 2)


@question(
    "q6",
    points=1,
    hints=[
        "`node.locks` says how many requests run on it: above 0, it stays.",
        "If no leaf may go, return what is freed so far.",
    ],
)
def what_is_locked_stays(answer, rng):
    """What is locked stays, even if that leaves less than was asked for."""
    a, b, c = (rng.permutation(90)[:3] + 1).tolist()
    texts = texts_of((a, b), (b, c, a), (c, c), locked=[(a, b)])
    for count in (2, 4, 9):
        evicted(answer, texts, count)
    evicted(answer, texts_of((a,), (a, b, c), (a, c), locked=[(a,)]), 9)


@question("q6", points=1, hints=["Follow `used` by hand: who goes, who has become a leaf by that?"])
def any_tree_is_cut_back(answer, rng):
    """Trees at random, with locks, cut back by little and by much."""
    for count, locked in ((4, 0), (6, 1), (9, 2)):
        texts = draw_texts(rng, count, locked)
        for blocks in (1, int(rng.integers(2, 12)), 1000):
            evicted(answer, texts, blocks)
