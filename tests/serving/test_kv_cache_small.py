"""The lab's own functions beside the library's classes, on the same random texts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.serving.kv_cache import BlockPool, RadixTree
from toolkit.serving.kv_cache.hashing import block_keys
from toolkit.serving.kv_cache.small import (
    BlockAllocator,
    Node,
    evict_leaves,
    insert_prefix,
    lookup_prefix,
    match_prefix,
    split_node,
)

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12)


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_blocks_go_where_the_pools_go(rng: random.Random, count: int):
    """Sequences that begin, share, write and end, in a pool of each kind."""
    small, pool = BlockAllocator(count), BlockPool(count)
    sequences: list[list[int]] = []
    for _ in range(30):
        kind = rng.choice(["allocate", "share", "write", "free"])
        if kind == "allocate":
            asked = rng.randint(1, 4)
            taken = small.allocate(asked)
            assert taken == (pool.take(asked) if asked <= pool.free else None)
            sequences += [taken] if taken else []
        elif sequences and kind == "share":
            shared = list(rng.choice(sequences))
            small.share(shared)
            pool.share(shared)
            sequences.append(shared)
        elif sequences and kind == "write":
            sequence = rng.choice(sequences)
            at = rng.randrange(len(sequence))
            block = sequence[at]
            alone = sum(block in other for other in sequences) == 1
            if alone or pool.free:
                copy = pool.copy_on_write(block)
                sequence[at] = block if copy is None else copy.target
                assert small.write(block) == sequence[at]
            else:
                assert small.write(block) is None
        elif sequences:
            sequence = sequences.pop(rng.randrange(len(sequences)))
            small.free(sequence)
            pool.release(sequence)
        assert small.readers == [pool.readers(block) for block in range(count)]
        assert small.readers == [sum(b in other for other in sequences) for b in range(count)]
        unused = [block for block in range(count) if not small.readers[block]]
        assert sorted(small.unused) == unused
    assert small.allocate(len(small.unused)) == pool.take(pool.free)  # in the same order


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 5), st.data())
def test_hits_end_at_the_first_gap_and_before_the_last_token(tokens, block_size, data):
    keys = block_keys(tokens, block_size)
    kept = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    found, hit = lookup_prefix(tokens, block_size, kept)
    assert found == keys
    assert hit < len(tokens)
    assert hit % block_size == 0
    blocks = hit // block_size
    assert set(keys[:blocks]) <= kept
    assert hit + block_size >= len(tokens) or keys[blocks] not in kept


def nodes_of(node, above=()):
    """Every node below: its text, blocks, when it was used and its locks, of either kind."""
    found = []
    for child in node.children.values():
        label = child.label if isinstance(child, Node) else child.label[:, 0].tolist()
        blocks = child.blocks if isinstance(child, Node) else child.values.tolist()
        text = (*above, *label)
        found += [(text, blocks, child.used, child.locks), *nodes_of(child, text)]
    return sorted(found)


@settings(deadline=None)
@given(TEXTS, st.data())
def test_the_tree_is_the_radix_tree(texts, data):
    """Texts go in, some are locked, leaves go, texts go in again."""
    library, root, fresh = RadixTree(), Node([], []), 100
    library.insert([], [])  # so that its clock stands at 1, as the lab's
    locked = 0
    for now, text in enumerate(texts, 1):
        blocks = list(range(fresh, fresh + len(text)))
        fresh += len(text)
        assert match_prefix(root, text) == library_match(library, text)
        node = library.insert(text, blocks).node
        root = insert_prefix(root, text, blocks, now)
        if data.draw(st.integers(0, 4)) == 0 and locked < 2:
            library.lock(node)
            lock(root, text)
            locked += 1
        if data.draw(st.booleans()):
            count = data.draw(st.integers(1, 8))
            freed, root = evict_leaves(root, count)
            assert freed == library.evict(count).tolist()
        assert nodes_of(root) == nodes_of(library.root)
        assert library.pages == sum(len(blocks) for _, blocks, _, _ in nodes_of(root))


def library_match(tree: RadixTree, text: list[int]) -> list[int]:
    """What the tree has of a text, without a split: from the table of its nodes."""
    found: list[int] = []
    for end, blocks, _, _ in nodes_of(tree.root):
        start = len(end) - len(blocks)
        shared = next((i for i, page in enumerate(end) if text[i : i + 1] != [page]), len(end))
        if shared > start:
            assert len(found) == start  # a node comes after the one above it
            found += blocks[: shared - start]
    assert len(found) == tree.peek(text)[0]
    return found


def lock(root: Node, text: list[int]) -> None:
    node = root
    while text:
        node = node.children[text[0]]
        node.locks += 1
        text = text[len(node.label) :]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_halves_hold_what_the_node_held(at):
    below = {9: Node([9], [14])}
    upper = split_node(Node([1, 2, 3, 4], [10, 11, 12, 13], below, used=5, locks=2), at)
    (page, lower), *others = upper.children.items()
    assert not others
    assert page == lower.label[0] == at + 1
    assert upper.label + lower.label == [1, 2, 3, 4]
    assert upper.blocks + lower.blocks == [10, 11, 12, 13]
    assert len(upper.label) == len(upper.blocks) == at
    assert lower.children is below
    assert (upper.used, upper.locks) == (lower.used, lower.locks) == (5, 2)


def test_nothing_may_go():
    locked = Node([1], [7], used=1, locks=1)
    freed, root = evict_leaves(Node([], [], {1: locked}), 3)
    assert (root.children, freed) == ({1: locked}, [])
    freed, root = evict_leaves(Node([], []), 1)
    assert (root.children, freed) == ({}, [])
