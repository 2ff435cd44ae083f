"""Passages that stand in a corpus more than once, word for word, found by a suffix array.

MinHash compares whole documents. A licence pasted into a long manual leaves the two unlike, yet
every word of it is there twice. So all suffixes of the corpus are sorted, which brings together
those that begin alike:

    words as numbers -> suffix array -> longest earlier copy from every position -> passages

This is the ExactSubstr of Lee and others (2022). Their paper has a shared passage "removed from
one" of two examples, and so it is here: the first occurrence stays. Their program strikes out
every occurrence, the first as well. They compare bytes, in the paper those of BPE tokens; here it
is casefolded words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Int64, UInt32, UInt64

from toolkit.arguments import whole_number
from toolkit.compiled import compiled

from . import hashing
from .blocks import blocks
from .shingling import words
from .spans import spans
from .suffixes import BOUNDARY, longest_earlier

MOST_POSITIONS = 2**31 - 1
"""Of words and boundaries: 32-bit numbers tell no more of them apart."""


@dataclass(frozen=True, slots=True)
class Passages:
    """Maximal passages that occur earlier in the corpus, ascending by document and start.

    Passage k is the words ``start[k]:stop[k]`` of document ``document[k]``. The same words stand
    from ``first_start[k]`` on in document ``first_document[k]``, and nowhere before that. With
    one more word on either side it would occur nowhere earlier. Passages may overlap; none lies
    within another, or across two documents.

    Attributes:
        length: the fewest words of a passage.
        tokens: how many words each document of the corpus has.
        document, start, stop: where each passage is, in words.
        first_document, first_start: where it occurs first, in words.
        char_start, char_stop: ``texts[document][char_start:char_stop]`` is the passage, from the
            first character of its first word to the last of its last.
    """

    length: int
    tokens: Int64[np.ndarray, " documents"]
    document: Int64[np.ndarray, " passages"]
    start: Int64[np.ndarray, " passages"]
    stop: Int64[np.ndarray, " passages"]
    first_document: Int64[np.ndarray, " passages"]
    first_start: Int64[np.ndarray, " passages"]
    char_start: Int64[np.ndarray, " passages"]
    char_stop: Int64[np.ndarray, " passages"]

    def __len__(self) -> int:
        return len(self.document)

    @property
    def covered(self) -> int:
        """How many words lie in a passage, each counted once."""
        same = self.document[1:] == self.document[:-1]
        overlaps = np.maximum(self.stop[:-1] - self.start[1:], 0)
        return int((self.stop - self.start).sum() - overlaps[same].sum())


def repeated_passages_plain(
    texts: Sequence[str], length: int
) -> list[tuple[int, int, int, int, int]]:
    """``repeated_passages`` in so many words: a dictionary of all runs of ``length`` or more.

    Returns:
        (document, start, stop, first_document, first_start) of every passage.
    """
    first: dict[tuple[str, ...], tuple[int, int]] = {}
    passages = []
    for document, text in enumerate(texts):
        tokens = words(text)
        end = 0  # of the last passage: a run that stops no later lies within it
        for start in range(len(tokens)):
            longest = 0
            for stop in range(start + length, len(tokens) + 1):
                origin = first.setdefault(tuple(tokens[start:stop]), (document, start))
                if origin != (document, start):
                    longest, source = stop, origin
            if longest > end:
                passages.append((document, start, longest, *source))
                end = longest
    return passages


def repeated_passages(texts: Sequence[str], length: int = 50) -> Passages:
    """Find every passage of ``length`` or more words that occurs earlier in the corpus.

    Earlier is in a document before, or nearer the front of the same one. A word lies in a passage
    exactly when some run of ``length`` words of its document, with it among them, begins at an
    earlier place as well. A first occurrence is no passage, though words of it may themselves be
    copied: in "a b c", "b c d", "c d", at length 2, "c d" occurs first where its "c" is a copy.
    Of one word said sixty times on end, all but the first are a passage.

    Words are those of ``words``, told apart by a 64-bit hash. Beside the texts it takes about 30
    bytes a word, or 50 where more than 65,535 words are distinct; and for a moment 40 bytes a
    character of the longest text.

    Args:
        texts: the documents.
        length: the fewest words of a passage, at least 1.
    Returns:
        Passages, the same as those of ``repeated_passages_plain``.
    Raises:
        TypeError: ``texts`` is no list of strings, or ``length`` no whole number.
        ValueError: ``length`` is below 1, or the corpus has 2^31 words or more.
    Source:
        Lee and others, Deduplicating Training Data Makes Language Models Better, 2022.
    """
    length = whole_number("length", length)
    if length < 1:
        raise ValueError(f"length must be at least 1 word, got {length!r}")
    hashing.check_texts(texts)
    tokens, sizes = _numbered_words(texts)
    longest, source = longest_earlier(tokens, length)

    # What stands earlier from i on stands earlier from i + 1 on too, less its first word. So
    # ``longest`` falls by one at most from i to i + 1, and if it falls, both are one passage.
    at = np.flatnonzero((longest >= length) & (longest >= np.roll(longest, 1)))
    begins = 1 + np.concatenate([[0], np.cumsum(sizes + 1)])  # of each document, in ``tokens``
    document = np.searchsorted(begins, at, side="right") - 1
    first_document = np.searchsorted(begins, source[at], side="right") - 1
    start = at - begins[document]
    stop = start + longest[at]

    char_start, char_stop = np.empty_like(start), np.empty_like(stop)
    for d, its in _by_document(document):
        starts, stops = spans(texts[d])
        char_start[its] = starts[start[its]]
        char_stop[its] = stops[stop[its] - 1]
    return Passages(
        length=length,
        tokens=sizes,
        document=document,
        start=start,
        stop=stop,
        first_document=first_document,
        first_start=source[at] - begins[first_document],
        char_start=char_start,
        char_stop=char_stop,
    )


def remove_passages(texts: Sequence[str], passages: Passages) -> list[str]:
    """The texts without their repeated passages.

    A cut goes from the first character of a passage to the word that comes next, or to the end of
    the text: the punctuation and white space after a passage go with it, those before it stay,
    except before the first word of a text. What is left is joined as it is, with a space only
    where two words would become one.

    The words on both sides of a cut become neighbours, and together they may stand elsewhere too.
    So one round can make new passages. To go on until none is left:

        while len(passages := repeated_passages(texts)):
            texts = remove_passages(texts, passages)

    Args:
        texts: the documents in which ``passages`` were found.
        passages: from ``repeated_passages``.
    Returns:
        As many texts; one that was copied whole is empty.
    Raises:
        TypeError: ``texts`` is no list of strings.
        ValueError: the passages are those of other texts.
    """
    hashing.check_texts(texts)
    if len(texts) != len(passages.tokens):
        raise ValueError(
            f"passages found in {len(passages.tokens)} documents can't be removed from "
            f"{len(texts)}: pass the texts they were found in"
        )
    left = list(texts)
    for d, its in _by_document(passages.document):
        starts, _ = spans(texts[d])
        if len(starts) != passages.tokens[d]:
            raise ValueError(
                f"document {d} had {passages.tokens[d]} words when passages were found in it and "
                f"now has {len(starts)}: pass the texts they were found in"
            )
        edges = np.concatenate([[0], starts[1:], [len(texts[d])]])  # between words
        cuts = np.stack([edges[passages.start[its]], edges[passages.stop[its]]], axis=1)
        left[d] = _without(texts[d], cuts.tolist())
    return left


def _without(text: str, cuts: Iterable[Sequence[int]]) -> str:
    left: list[str] = []
    at = 0
    for start, stop in [*cuts, (len(text), len(text))]:
        piece = text[at:start]  # empty where cuts touch or overlap
        if piece:
            if left and _would_join(left[-1][-1], piece[0]):
                left.append(" ")
            left.append(piece)
        at = stop
    return "".join(left)


def _would_join(last: str, first: str) -> bool:
    return words(last + first) != words(last) + words(first)


def _by_document(document: Int64[np.ndarray, " passages"]) -> Iterator[tuple[int, slice]]:
    """Each document that has passages, and where these are among all."""
    found = np.unique(document, return_index=True, return_counts=True)
    for d, first, count in zip(*(column.tolist() for column in found), strict=True):
        yield d, slice(first, first + count)


def _numbered_words(
    texts: Sequence[str],
) -> tuple[UInt32[np.ndarray, " n"], Int64[np.ndarray, " documents"]]:
    """The words of all documents as numbers, with boundaries; and how many words each has."""
    hashes, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for block in blocks(texts):
        tokens = hashing.tokens(block, "word")
        hashes.append(tokens.hashes.copy())
        sizes.append(np.diff(tokens.offsets))
    documents = sum(map(len, sizes))
    total, most = sum(map(len, hashes)), MOST_POSITIONS - documents - 1
    if total > most:
        raise ValueError(
            f"{documents:,} documents can have {most:,} words together, got {total:,}: "
            f"search the corpus in parts"
        )
    of_each = np.concatenate(sizes)
    return _numbered(np.concatenate(hashes), of_each), of_each


@compiled
def _numbered(
    hashes: UInt64[np.ndarray, " words"], sizes: Int64[np.ndarray, " documents"]
) -> UInt32[np.ndarray, " n"]:
    numbers = numba.typed.Dict.empty(numba.uint64, numba.uint32)
    tokens = np.full(len(hashes) + len(sizes) + 1, np.uint32(BOUNDARY))
    word = 0
    for document in range(len(sizes)):
        for _ in range(sizes[document]):
            unused = np.uint32(len(numbers) + 1)
            tokens[1 + document + word] = numbers.setdefault(hashes[word], unused)
            word += 1
    return tokens
