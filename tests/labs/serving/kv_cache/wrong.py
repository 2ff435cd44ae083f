"""Plausible wrong answers of the KV cache lab, each with the hint that mends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from toolkit.classroom import wrong

# -- q1: the right one, which each wrong one changes in one place ----------------------------------


class Pool:
    def __init__(self, count):
        self.readers = [0] * count
        self.unused = list(range(count))

    def allocate(self, count):
        if count > len(self.unused):
            return None
        blocks, self.unused = self.unused[:count], self.unused[count:]
        for block in blocks:
            self.readers[block] = 1
        return blocks

    def share(self, blocks):
        for block in blocks:
            self.readers[block] += 1

    def free(self, blocks):
        for block in reversed(blocks):
            self.readers[block] -= 1
            if not self.readers[block]:
                self.unused.append(block)

    def write(self, block):
        if self.readers[block] == 1:
            return block
        copy = self.allocate(1)
        if copy is None:
            return None
        self.readers[block] -= 1
        return copy[0]


@wrong("q1", hint="The blocks are handed out, and nobody reads them: their `readers` are 1 now.")
class BlockAllocator(Pool):
    def allocate(self, count):
        if count > len(self.unused):
            return None
        blocks, self.unused = self.unused[:count], self.unused[count:]
        return blocks


@wrong("q1", hint="They are still in `unused`, and the next one would get the same blocks.")
class BlockAllocator(Pool):
    def allocate(self, count):
        if count > len(self.unused):
            return None
        blocks = self.unused[:count]
        for block in blocks:
            self.readers[block] = 1
        return blocks


@wrong(
    "q1",
    hint="`pop()` takes from the end. The front of `unused` has what was let go of longest ago.",
)
class BlockAllocator(Pool):
    def allocate(self, count):
        if count > len(self.unused):
            return None
        blocks = [self.unused.pop() for _ in range(count)]
        for block in blocks:
            self.readers[block] = 1
        return blocks


@wrong(
    "q1",
    hint="Fewer blocks than were asked for: a prompt with half of its blocks can't be computed. "
    "Return None, and take nothing.",
)
class BlockAllocator(Pool):
    def allocate(self, count):
        blocks, self.unused = self.unused[:count], self.unused[count:]
        for block in blocks:
            self.readers[block] = 1
        return blocks


@wrong(
    "q1",
    hint="An empty list says that no block was asked for. Where there are too few, it is None.",
)
class BlockAllocator(Pool):
    def allocate(self, count):
        return [] if count > len(self.unused) else super().allocate(count)


@wrong("q1", hint="`>=` refuses the last blocks as well. All that are unused may be asked for.")
class BlockAllocator(Pool):
    def allocate(self, count):
        if count >= len(self.unused):
            return None
        return super().allocate(count)


@wrong("q1", hint="It was None, and yet blocks are gone: look whether there are enough first.")
class BlockAllocator(Pool):
    def allocate(self, count):
        blocks = []
        for _ in range(count):
            if not self.unused:
                return None
            blocks.append(self.unused.pop(0))
            self.readers[blocks[-1]] = 1
        return blocks


@wrong(
    "q1",
    hint="`share` sets the readers to 2. A third reader makes three: add one instead.",
)
class BlockAllocator(Pool):
    def share(self, blocks):
        for block in blocks:
            self.readers[block] = 2


@wrong("q1", hint="Somebody still reads that block. It is unused once its `readers` are 0.")
class BlockAllocator(Pool):
    def free(self, blocks):
        for block in reversed(blocks):
            self.readers[block] -= 1
            self.unused.append(block)


@wrong("q1", hint="`free` lets all readers go at once. One sequence ended: take away one.")
class BlockAllocator(Pool):
    def free(self, blocks):
        for block in reversed(blocks):
            self.readers[block] = 0
            self.unused.append(block)


@wrong(
    "q1", hint="Nobody reads the block any more, and it is not in `unused`: it is lost for good."
)
class BlockAllocator(Pool):
    def free(self, blocks):
        for block in blocks:
            self.readers[block] -= 1


@wrong(
    "q1",
    hint="The first block of the sequence would be reused first, and it is the one that the next "
    "prompt may begin with. Go through the blocks from the last: `reversed(blocks)`.",
)
class BlockAllocator(Pool):
    def free(self, blocks):
        for block in blocks:
            self.readers[block] -= 1
            if not self.readers[block]:
                self.unused.append(block)


@wrong(
    "q1",
    hint="They are not at the end of `unused`. What is let go of now may be needed again soon: it "
    "comes after all that was unused before.",
)
class BlockAllocator(Pool):
    def free(self, blocks):
        for block in blocks:
            self.readers[block] -= 1
            if not self.readers[block]:
                self.unused.insert(0, block)


@wrong("q1", hint="The other reader would see what is written. With two readers, write to a copy.")
class BlockAllocator(Pool):
    def write(self, block):
        return block


@wrong("q1", hint="Nobody else reads the block: no copy is due, it may be written to.")
class BlockAllocator(Pool):
    def write(self, block):
        copy = self.allocate(1)
        if copy is None:
            return None
        self.free([block])
        return copy[0]


@wrong(
    "q1",
    hint="Who writes has the copy now, and lets go of the block it came from: one reader less.",
)
class BlockAllocator(Pool):
    def write(self, block):
        if self.readers[block] == 1:
            return block
        copy = self.allocate(1)
        return None if copy is None else copy[0]


@wrong("q1", hint="`allocate` gives a list. The one block in it is what can be written to.")
class BlockAllocator(Pool):
    def write(self, block):
        if self.readers[block] == 1:
            return block
        copy = self.allocate(1)
        if copy is None:
            return None
        self.readers[block] -= 1
        return copy


@wrong(
    "q1",
    hint="The block that was copied has 1 reader now, whatever it had. Only one has left it: take "
    "one away.",
)
class BlockAllocator(Pool):
    def write(self, block):
        copy = super().write(block)
        if copy not in (block, None):
            self.readers[block] = 1
        return copy


@wrong(
    "q1",
    hint="There was no block for the copy, and the reader has let go of its own all the same: take "
    "one away from `readers` only once there is a copy.",
)
class BlockAllocator(Pool):
    def write(self, block):
        if self.readers[block] == 1:
            return block
        self.readers[block] -= 1
        copy = self.allocate(1)
        return None if copy is None else copy[0]


@wrong(
    "q1", hint="`allocate(1)` may be None, when no block is unused: then `write` is None as well."
)
class BlockAllocator(Pool):
    def write(self, block):
        if self.readers[block] == 1:
            return block
        (copy,) = self.allocate(1)
        self.readers[block] -= 1
        return copy


# -- q2 ------------------------------------------------------------------------------------------

ROOT = bytes(16)


def hash_block(parent, tokens):
    return blake2b(parent + np.array(tokens, "<i8").tobytes(), digest_size=16).digest()


def keys_of(tokens, block_size):
    keys, parent = [], ROOT
    for end in range(block_size, len(tokens) + 1, block_size):
        parent = hash_block(parent, tokens[end - block_size : end])
        keys.append(parent)
    return keys


def hit_of(keys, tokens, block_size, kept):
    hit = 0
    for key in keys[: (len(tokens) - 1) // block_size]:
        if key not in kept:
            break
        hit += block_size
    return hit


@wrong(
    "q2",
    hint="Each block was hashed by itself. Two blocks with the same tokens after different ones "
    "would have the same key: hash with the key before, not with `ROOT`.",
)
def lookup_prefix(tokens, block_size, kept):
    ends = range(block_size, len(tokens) + 1, block_size)
    keys = [hash_block(ROOT, tokens[end - block_size : end]) for end in ends]
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong(
    "q2",
    hint="Your keys tell prefixes apart, but hash the whole text again for each block. The key "
    "before stands for all of it: hash that and one block.",
)
def lookup_prefix(tokens, block_size, kept):
    ends = range(block_size, len(tokens) + 1, block_size)
    keys = [hash_block(ROOT, tokens[:end]) for end in ends]
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong("q2", hint="The key before stands for the tokens before: hash the block's own tokens only.")
def lookup_prefix(tokens, block_size, kept):
    keys, parent = [], ROOT
    for end in range(block_size, len(tokens) + 1, block_size):
        parent = hash_block(parent, tokens[:end])
        keys.append(parent)
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong(
    "q2",
    hint="The last block is not full, and has a key. Once it gets more tokens it is another block.",
)
def lookup_prefix(tokens, block_size, kept):
    keys, parent = [], ROOT
    for start in range(0, len(tokens), block_size):
        parent = hash_block(parent, tokens[start : start + block_size])
        keys.append(parent)
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong("q2", hint="The last full block has no key. `range` stops before its end.")
def lookup_prefix(tokens, block_size, kept):
    keys, parent = [], ROOT
    for start in range(0, len(tokens) - block_size, block_size):
        parent = hash_block(parent, tokens[start : start + block_size])
        keys.append(parent)
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong("q2", hint="Blocks don't overlap: the next one begins `block_size` tokens on, not one.")
def lookup_prefix(tokens, block_size, kept):
    keys, parent = [], ROOT
    for start in range(len(tokens) - block_size + 1):
        parent = hash_block(parent, tokens[start : start + block_size])
        keys.append(parent)
    return keys, hit_of(keys, tokens, block_size, kept)


@wrong(
    "q2",
    hint="The keys end where the hits do. Those of the other full blocks are needed as well, for "
    "when these are computed and kept.",
)
def lookup_prefix(tokens, block_size, kept):
    keys, parent = [], ROOT
    for end in range(block_size, len(tokens), block_size):
        parent = hash_block(parent, tokens[end - block_size : end])
        if parent not in kept:
            break
        keys.append(parent)
    return keys, block_size * len(keys)


@wrong(
    "q2",
    hint="The keys of blocks that hit are left out. All full blocks of the prompt have theirs.",
)
def lookup_prefix(tokens, block_size, kept):
    keys = keys_of(tokens, block_size)
    hit = hit_of(keys, tokens, block_size, kept)
    return keys[hit // block_size :], hit


@wrong("q2", hint="You counted blocks. What hits is in tokens: times `block_size`.")
def lookup_prefix(tokens, block_size, kept):
    keys = keys_of(tokens, block_size)
    return keys, hit_of(keys, tokens, block_size, kept) // block_size


@wrong(
    "q2",
    hint="A block after the gap was counted. Its keys and values may be kept, but those of the "
    "tokens before it are not: stop at the first key that is missing.",
)
def lookup_prefix(tokens, block_size, kept):
    keys = keys_of(tokens, block_size)
    return keys, block_size * sum(key in kept for key in keys[: (len(tokens) - 1) // block_size])


@wrong(
    "q2",
    hint="All tokens hit, and none is left to compute. Then the model can't say what comes next: "
    "the block of the last token is computed.",
)
def lookup_prefix(tokens, block_size, kept):
    keys, hit = keys_of(tokens, block_size), 0
    for key in keys:
        if key not in kept:
            break
        hit += block_size
    return keys, hit


@wrong(
    "q2",
    hint="A block is shared as a whole. If its last token has to be computed, all of it is: hits "
    "are a multiple of `block_size`.",
)
def lookup_prefix(tokens, block_size, kept):
    keys, hit = keys_of(tokens, block_size), 0
    for key in keys:
        if key not in kept:
            break
        hit += block_size
    return keys, min(hit, len(tokens) - 1)


@wrong(
    "q2",
    hint="Your last full block never hits. It may, if the last token is not in it but after it.",
)
def lookup_prefix(tokens, block_size, kept):
    keys = keys_of(tokens, block_size)
    return keys, hit_of(keys, tokens[: block_size * len(keys)], block_size, kept)


# -- trees ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Node:
    label: list
    blocks: list
    children: dict = field(default_factory=dict)
    used: int = 0
    locks: int = 0


def shared_length(a, b):
    for i, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return i
    return min(len(a), len(b))


def halves(node, at):
    lower = Node(node.label[at:], node.blocks[at:], node.children, node.used, node.locks)
    children = {lower.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


# -- q3 ------------------------------------------------------------------------------------------


@wrong(
    "q3",
    hint="A run counts for nothing if the text leaves it in its middle. What lies before is found "
    "all the same: `child.blocks[:shared]`.",
)
def match_prefix(root, pages):
    node, blocks = root, []
    while len(blocks) < len(pages):
        rest = pages[len(blocks) :]
        child = node.children.get(rest[0])
        if child is None or shared_length(child.label, rest) < len(child.label):
            break
        blocks = blocks + child.blocks
        node = child
    return blocks


@wrong(
    "q3",
    hint="Only the first page of the run was compared, and the whole run taken. How much of it "
    "does the text share?",
)
def match_prefix(root, pages):
    node, blocks = root, []
    while len(blocks) < len(pages):
        child = node.children.get(pages[len(blocks)])
        if child is None:
            break
        blocks = blocks + child.blocks
        node = child
    return blocks


@wrong("q3", hint="Those are the pages that match. Return their blocks.")
def match_prefix(root, pages):
    node, found = root, []
    while len(found) < len(pages):
        rest = pages[len(found) :]
        child = node.children.get(rest[0])
        if child is None:
            break
        shared = shared_length(child.label, rest)
        found = found + child.label[:shared]
        if shared < len(child.label):
            break
        node = child
    return found


@wrong("q3", hint="That is how many pages match. Return their blocks.")
def match_prefix(root, pages):
    node, found = root, 0
    while found < len(pages):
        child = node.children.get(pages[found])
        if child is None:
            break
        shared = shared_length(child.label, pages[found:])
        found += shared
        if shared < len(child.label):
            break
        node = child
    return found


@wrong("q3", hint="The walk ended after one node. If its whole run matches, go on from there.")
def match_prefix(root, pages):
    child = root.children.get(pages[0]) if pages else None
    return [] if child is None else child.blocks[: shared_length(child.label, pages)]


@wrong(
    "q3",
    hint="After a match in the middle of a run there is nowhere to go: the children of that node "
    "come after its **whole** run.",
)
def match_prefix(root, pages):
    node, blocks = root, []
    while len(blocks) < len(pages):
        rest = pages[len(blocks) :]
        child = node.children.get(rest[0])
        if child is None:
            break
        blocks = blocks + child.blocks[: shared_length(child.label, rest)]
        node = child
    return blocks


@wrong(
    "q3",
    hint="No child begins with that page: `children[page]` raises, `children.get(page)` is None.",
)
def match_prefix(root, pages):
    node, blocks = root, []
    while len(blocks) < len(pages):
        rest = pages[len(blocks) :]
        child = node.children[rest[0]]
        shared = shared_length(child.label, rest)
        blocks = blocks + child.blocks[:shared]
        if shared < len(child.label):
            break
        node = child
    return blocks


@wrong("q3", hint="The whole text is found, and the walk goes on: it ends when no page is left.")
def match_prefix(root, pages):
    node, blocks = root, []
    while True:
        rest = pages[len(blocks) :]
        child = node.children.get(rest[0])
        if child is None:
            break
        shared = shared_length(child.label, rest)
        blocks = blocks + child.blocks[:shared]
        if shared < len(child.label):
            break
        node = child
    return blocks


@wrong(
    "q3",
    hint="`+=` put the blocks into the list of a node: the tree is another one now. Begin with a "
    "new list, `[]`.",
)
def match_prefix(root, pages):
    node, blocks = root, root.blocks
    while len(blocks) < len(pages):
        rest = pages[len(blocks) :]
        child = node.children.get(rest[0])
        if child is None:
            break
        shared = shared_length(child.label, rest)
        blocks += child.blocks[:shared]
        if shared < len(child.label):
            break
        node = child
    return blocks


# -- q4 ------------------------------------------------------------------------------------------


@wrong(
    "q4",
    hint="The node's old children hang below the upper half. They come after the whole run, and so "
    "below the lower half.",
)
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks[at:], {}, node.used, node.locks)
    children = {**node.children, lower.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


@wrong("q4", hint="What hung below the node is gone. It hangs below the lower half.")
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks[at:], {}, node.used, node.locks)
    children = {lower.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


@wrong("q4", hint="The run is cut, its blocks are not: each page takes its block along.")
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks, node.children, node.used, node.locks)
    children = {lower.label[0]: lower}
    return Node(node.label[:at], node.blocks, children, node.used, node.locks)


@wrong(
    "q4",
    hint="The lower half stands in `children` by the first page of the upper one. It is looked for "
    "by its own: `node.label[at]`.",
)
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks[at:], node.children, node.used, node.locks)
    children = {node.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


@wrong("q4", hint="You gave the lower half back. The upper one takes the node's place in the tree.")
def split_node(node, at):
    return halves(node, at).children[node.label[at]]


@wrong("q4", hint="Both halves come back, side by side. The lower one hangs below the upper one.")
def split_node(node, at):
    upper = halves(node, at)
    lower = upper.children.pop(node.label[at])
    return upper, lower


@wrong(
    "q4",
    hint="The upper half is not locked. Who runs on the node runs on both halves, and what is not "
    "locked may be evicted under it.",
)
def split_node(node, at):
    upper = halves(node, at)
    upper.locks = 0
    return upper


@wrong("q4", hint="The upper half was used when the node was: it has the same `used`.")
def split_node(node, at):
    upper = halves(node, at)
    upper.used = 0
    return upper


@wrong(
    "q4", hint="A half was never used and has no locks. It has the `used` and `locks` of the node."
)
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks[at:], node.children)
    return Node(node.label[:at], node.blocks[:at], {lower.label[0]: lower})


@wrong("q4", hint="The lower half was used when the node was, and is locked as it was.")
def split_node(node, at):
    lower = Node(node.label[at:], node.blocks[at:], node.children)
    children = {lower.label[0]: lower}
    return Node(node.label[:at], node.blocks[:at], children, node.used, node.locks)


@wrong("q4", hint="The upper half has one page too many: it has `at` of them, `label[:at]`.")
def split_node(node, at):
    return halves(node, at + 1)


# -- q5 ------------------------------------------------------------------------------------------


@wrong("q5", hint="The new leaf has the whole text. What is above it has the beginning already.")
def insert_prefix(root, pages, blocks, now):
    node, at = root, 0
    while at < len(pages):
        child = node.children.get(pages[at])
        if child is None:
            node.children[pages[at]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages[at:])
        if shared < len(child.label):
            child = node.children[pages[at]] = halves(child, shared)
        child.used = now
        node, at = child, at + shared
    return root


@wrong("q5", hint="The pages go on, and the blocks do not: cut `blocks[shared:]` as well.")
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks[: len(pages)], used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages = child, pages[shared:]
    return root


@wrong(
    "q5",
    hint="The new leaf has more blocks than pages. Those of the pages above it are cut off too: "
    "`blocks[shared:]`.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages = child, pages[shared:]
    return root


@wrong(
    "q5",
    hint="The node was split, and the tree still has the old one: put the upper half in its place, "
    "`node.children[pages[0]] = split_node(child, shared)`.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = halves(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong(
    "q5",
    hint="The text leaves that run in its middle, and its rest hangs below all of it: split the "
    "node there first.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong("q5", hint="A child that shared only part of the text was written over: its texts are gone.")
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None or shared_length(child.label, pages) < len(child.label):
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        child.used = now
        shared = len(child.label)
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong(
    "q5",
    hint="The text ends in the middle of a run, and that was not split: it is also split where the "
    "text ends.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < min(len(child.label), len(pages)):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong("q5", hint="An empty leaf: the text had ended, and there was nothing left to put in.")
def insert_prefix(root, pages, blocks, now):
    node = root
    while True:
        child = node.children.get(pages[0]) if pages else None
        if child is None:
            node.children[pages[0] if pages else None] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong(
    "q5",
    hint="A page that is in the tree got the text's block. Somebody may be reading the old one: it "
    "keeps that.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used, child.blocks = now, blocks[:shared]
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong(
    "q5",
    hint="The nodes above were used now, too: the text goes through all of them. Set `used` on the "
    "way.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong("q5", hint="The new leaf was never used, and would be evicted first: `used=now`.")
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks)
            break
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong(
    "q5",
    hint="The lower half was used now as well, though the text did not go there: first split, then "
    "set `used` on the upper half.",
)
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            node.children[pages[0]] = Node(pages, blocks, used=now)
            break
        child.used = now
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return root


@wrong("q5", hint="You gave back the node where the text ends. Return the root of the tree.")
def insert_prefix(root, pages, blocks, now):
    node = root
    while pages:
        child = node.children.get(pages[0])
        if child is None:
            child = node.children[pages[0]] = Node(pages, blocks, used=now)
            return child
        shared = shared_length(child.label, pages)
        if shared < len(child.label):
            child = node.children[pages[0]] = halves(child, shared)
        child.used = now
        node, pages, blocks = child, pages[shared:], blocks[shared:]
    return node


# -- q6 ------------------------------------------------------------------------------------------


def nodes_and_parents(root):
    found = [(root, None)]
    for node, _ in found:
        found += [(child, node) for child in node.children.values()]
    return found[1:]


def may_go(node):
    return not node.children and not node.locks


def cut_back(root, count, who, pick):
    """The right loop, around a choice of who may go and which of them does."""
    freed = []
    while len(freed) < count:
        leaves = [(node, above) for node, above in nodes_and_parents(root) if who(node)]
        if not leaves:
            break
        leaf, above = pick(leaves, key=lambda pair: pair[0].used)
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong("q6", hint="You evicted what was used last. Least recently used is the least `used`: `min`.")
def evict_leaves(root, count):
    return cut_back(root, count, may_go, max)


@wrong(
    "q6",
    hint="You evicted a leaf that is locked. A request is running on it, and reads its blocks.",
)
def evict_leaves(root, count):
    return cut_back(root, count, lambda node: not node.children, min)


@wrong(
    "q6",
    hint="A node went that had children. They can't be reached any more, and their blocks are "
    "lost: only leaves go.",
)
def evict_leaves(root, count):
    return cut_back(root, count, lambda node: not node.locks, min)


@wrong(
    "q6",
    hint="You looked for leaves once. A parent whose children are gone is a leaf, too.",
)
def evict_leaves(root, count):
    freed = []
    leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
    for leaf, above in sorted(leaves, key=lambda pair: pair[0].used):
        if len(freed) >= count:
            break
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong(
    "q6",
    hint="A parent that became a leaf went at once. It waits its turn with the others, one of "
    "which may have been used longer ago.",
)
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        parents = {id(node): above for node, above in nodes_and_parents(root)}
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        if not leaves:
            break
        leaf, above = min(leaves, key=lambda pair: pair[0].used)
        freed += above.children.pop(leaf.label[0]).blocks
        while len(freed) < count and above is not root and may_go(above):
            leaf, above = above, parents[id(above)]
            freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong(
    "q6",
    hint="A leaf was passed over, since it has more blocks than were asked for. It goes as a whole "
    "all the same, and more is freed.",
)
def evict_leaves(root, count):
    freed = []
    while True:
        room = count - len(freed)
        leaves = [
            (node, above)
            for node, above in nodes_and_parents(root)
            if may_go(node) and len(node.blocks) <= room
        ]
        if not leaves:
            break
        leaf, above = min(leaves, key=lambda pair: pair[0].used)
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong(
    "q6",
    hint="One leaf too many: there was enough, and another one went. Go on only while "
    "`len(freed) < count`.",
)
def evict_leaves(root, count):
    return cut_back(root, count + 1, may_go, min)


@wrong(
    "q6",
    hint="You counted leaves. `count` is in blocks, and a leaf may have several: compare "
    "`len(freed)`.",
)
def evict_leaves(root, count):
    freed = []
    for _ in range(count):
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        if not leaves:
            break
        leaf, above = min(leaves, key=lambda pair: pair[0].used)
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong(
    "q6",
    hint="You freed a part of a leaf's blocks, and the leaf is gone: it goes as a whole, and all "
    "its blocks are free.",
)
def evict_leaves(root, count):
    freed, root = cut_back(root, count, may_go, min)
    return freed[:count], root


@wrong(
    "q6",
    hint="Its blocks are free, and the leaf is still in the tree: a text would find blocks that "
    "have something else in them.",
)
def evict_leaves(root, count):
    import copy

    freed, _ = cut_back(copy.deepcopy(root), count, may_go, min)
    return freed, root


@wrong(
    "q6",
    hint="No leaf may go, and `min` of nothing raises: return what is freed so far.",
)
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        leaf, above = min(leaves, key=lambda leaf: leaf[0].used)
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong("q6", hint="Only the root's own children were looked at. Leaves are further down as well.")
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        leaves = [child for child in root.children.values() if may_go(child)]
        if not leaves:
            break
        leaf = min(leaves, key=lambda leaf: leaf.used)
        freed += root.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong("q6", hint="Those are pages. What is free are the blocks of the leaf.")
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        if not leaves:
            break
        leaf, above = min(leaves, key=lambda pair: pair[0].used)
        freed += above.children.pop(leaf.label[0]).label
    return freed, root


@wrong(
    "q6",
    hint="The largest leaf went. How long it is does not matter, only when it was last used.",
)
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        if not leaves:
            break
        leaf, above = max(leaves, key=lambda pair: len(pair[0].blocks))
        freed += above.children.pop(leaf.label[0]).blocks
    return freed, root


@wrong(
    "q6", hint="The leaf's list of blocks was appended as one: a list in a list. `+=` adds each."
)
def evict_leaves(root, count):
    freed = []
    while len(freed) < count:
        leaves = [(node, above) for node, above in nodes_and_parents(root) if may_go(node)]
        if not leaves:
            break
        leaf, above = min(leaves, key=lambda pair: pair[0].used)
        freed.append(above.children.pop(leaf.label[0]).blocks)
    return freed, root


@wrong(
    "q6", hint="The leaf that came first in the tree went. Compare their `used`: the least goes."
)
def evict_leaves(root, count):
    return cut_back(root, count, may_go, lambda leaves, key: leaves[0])
