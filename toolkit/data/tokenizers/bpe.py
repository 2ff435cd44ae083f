"""Byte-pair encoding: start from bytes, and merge the pairs that were learnt, earliest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int32

from toolkit.arguments import whole_number

from .bpe_training import train
from .files import as_base64, from_base64
from .gguf_vocabulary import open_gguf, read_vocabulary
from .merging import encode, pair_table
from .splitting import GPT2, PATTERNS, Pattern
from .text import as_array, character_classes, several, utf8
from .tokenizer import Tokenizer
from .trie import Trie, build

if TYPE_CHECKING:
    from gguf import GGUFReader

NONE = -1


class BPE(Tokenizer):
    """Sennrich's byte-pair encoding over bytes, with GPT-2's words or none.

    Args:
        tokens: the bytes of each token, by its id. A vocabulary that was learnt here has every
            single byte; some of the industry lack bytes that their texts never had, and what holds
            one of those is refused.
        merges: pairs of tokens, the first learnt first; each makes the token whose bytes are
            theirs together.
        pattern: where texts are cut into words, which no token crosses; None leaves them whole.
        special: tokens that no text is encoded to, such as the end of a turn, by their names. They
            decode to these.
        ignore_merges: a word that is a token stays whole, also where no merges make it, as
            tiktoken has it.

    ``trie`` is that of the tokens, less the special ones.

    Source:
        Sennrich, Haddow and Birch 2016; over bytes, Radford et al. 2019.
    """

    kind: ClassVar[str] = "BPE"

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[int, int]],
        *,
        pattern: Pattern | None = GPT2,
        special: Mapping[str, int] | None = None,
        ignore_merges: bool = False,
    ) -> None:
        self.tokens = tuple(tokens)
        self.merges = tuple(merges)
        self.pattern = pattern
        self.special = dict(special or {})
        if not isinstance(ignore_merges, bool):
            raise TypeError(f"ignore_merges must be True or False, got {ignore_merges!r}")
        self.ignore_merges = ignore_merges
        aside = set(self.special.values())
        self._check(aside)
        self._ids = {piece: token for token, piece in enumerate(self.tokens) if token not in aside}
        made = [self._ids.get(self.tokens[a] + self.tokens[b], NONE) for a, b in self.merges]
        if NONE in made:
            place = made.index(NONE)
            a, b = self.merges[place]
            raise ValueError(
                f"merge {place} makes {self.tokens[a] + self.tokens[b]!r}, which is no token"
            )
        self._made: Int32[np.ndarray, " merges"] = np.array(made, dtype=np.int32)
        pairs = np.array(self.merges, dtype=np.int32).reshape(-1, 2)
        self._pairs = pair_table(pairs, np.arange(len(pairs), dtype=np.int32), self._made)
        self._bytes = np.array(
            [self._ids.get(bytes([byte]), NONE) for byte in range(256)], dtype=np.int32
        )
        self.trie: Trie = build(list(self._ids), list(self._ids.values()))
        whole = np.ones(len(self.tokens), dtype=bool)
        self._whole: Bool[np.ndarray, " tokens"] = whole if ignore_merges else self._kept_whole()

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, pattern: Pattern | None = GPT2) -> BPE:
        """Learn merges: again and again, of the pair that stands most often.

        Of equally frequent pairs the one with the smaller ids is first.

        Args:
            texts: read once.
            vocab_size: tokens, the 256 single bytes included.
            pattern: see above.
        Raises:
            ValueError, TypeError: the size is less than 256 or more than the texts have pairs for.
        """
        vocab_size = whole_number("vocab_size", vocab_size)
        if vocab_size < 256:
            raise ValueError(
                f"vocab_size must be at least 256, one for each byte, got {vocab_size}"
            )
        merges = train(several(texts), vocab_size - 256, pattern)
        tokens = [bytes([byte]) for byte in range(256)]
        for a, b in merges:
            tokens.append(tokens[a] + tokens[b])
        return cls(tokens, merges, pattern=pattern)

    @classmethod
    def from_ranks(cls, ranks: Mapping[bytes, int], pattern: Pattern | None = GPT2) -> BPE:
        """The tokenizer of tiktoken's files: tokens alone, of which the lower are merged first.

        There any two tokens that make a third may merge, however it was learnt, and a word that is
        a token stays whole.

        Args:
            ranks: the tokens' bytes and ids, which are 0 to their number less one.
            pattern: see above.
        Raises:
            ValueError: the ids are not those.
        """
        tokens = sorted(ranks, key=ranks.__getitem__)
        if [ranks[piece] for piece in tokens] != list(range(len(tokens))):
            raise ValueError(f"ranks must be 0 to {len(tokens) - 1}, each once")
        merges = [
            (ranks[piece[:cut]], ranks[piece[cut:]])
            for piece in tokens
            for cut in range(1, len(piece))
            if piece[:cut] in ranks and piece[cut:] in ranks
        ]
        return cls(tokens, merges, pattern=pattern, ignore_merges=True)

    @classmethod
    def from_gguf(cls, path: str | Path, reader: GGUFReader | None = None) -> BPE:
        """The tokenizer of a model in GGUF.

        Args:
            path: the file.
            reader: of that file, where it is open already: opening takes seconds.
        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no GGUF, or its tokenizer is not of this kind.
        """
        path = Path(path)
        return cls(**read_vocabulary(reader or open_gguf(path), path))

    @property
    def vocab_size(self) -> int:
        """Tokens in all, the special ones included."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; the names of special ones in it are text like any other.

        Raises:
            ValueError: the text holds half of a surrogate pair, or a byte that is no token.
        """
        content = as_array(utf8(text))
        bounds = np.array([len(content)])
        found = self._merged(content, bounds, split=self.pattern is not None, whole=self._whole)
        if len(content) and not len(found):
            place = int(np.flatnonzero(self._bytes[content] == NONE)[0])
            raise ValueError(
                f"this vocabulary has no token for the byte 0x{content[place]:02x}, which is byte "
                f"{place:,} of the text: leave it out, or use another tokenizer"
            )
        return found.tolist()

    def merged(self, text: str) -> list[tuple[int, int, int]]:
        """The merges of a text, in the order they are made: start, end and the token made.

        The plain version of ``encode``: word by word, every pair looked at for every merge.
        """
        ranks = self._ranks
        done, begin = [], 0
        for word in self.pattern.words(text) if self.pattern else [text]:
            content = utf8(word)
            parts = [(begin + i, begin + i + 1, int(self._bytes[c])) for i, c in enumerate(content)]
            begin += len(content)
            if self.ignore_merges and len(parts) > 1 and content in self._ids:
                done.append((parts[0][0], begin, self._ids[content]))
                continue
            while len(parts) > 1:
                pairs = [(parts[i][2], parts[i + 1][2]) for i in range(len(parts) - 1)]
                best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
                if pairs[best] not in ranks:
                    break
                made = int(self._made[ranks[pairs[best]]])
                parts[best : best + 2] = [(parts[best][0], parts[best + 1][1], made)]
                done.append(parts[best])
        return done

    @cached_property
    def ranks_of_tokens(self) -> Int32[np.ndarray, " tokens"]:
        """The place among the merges of the first that makes each token, from 1 on; else 0."""
        ranks = np.zeros(self.vocab_size, dtype=np.int32)
        ranks[self._made[::-1]] = np.arange(len(self.merges), 0, -1)
        return ranks

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], int]:
        return {pair: rank for rank, pair in reversed(list(enumerate(self.merges)))}

    def _piece(self, token: int) -> bytes:
        return self.tokens[token]

    def _fields(self) -> dict[str, Any]:
        return {
            "tokens": as_base64(self.tokens),
            "merges": [list(pair) for pair in self.merges],
            "pattern": self.pattern.name if self.pattern else None,
            "special": self.special,
            "ignore_merges": self.ignore_merges,
        }

    @classmethod
    def from_fields(cls, held: Mapping[str, Any]) -> BPE:
        """The tokenizer of a file."""
        if held["pattern"] not in {None, *PATTERNS}:
            raise ValueError(
                f"its pattern is {held['pattern']!r}; there are: {', '.join(PATTERNS)}"
            )
        return cls(
            from_base64(held["tokens"]),
            [(int(a), int(b)) for a, b in held["merges"]],
            pattern=PATTERNS.get(held["pattern"]),
            special=held["special"],
            ignore_merges=held["ignore_merges"],
        )

    def _check(self, aside: set[int]) -> None:
        """Refuse ids of special tokens and of merges that there are not, and empty tokens."""
        size = len(self.tokens)
        for name, token in self.special.items():
            if not 0 <= token < size:
                raise ValueError(f"special token {name!r} is {token}: ids are 0 to {size - 1}")
        for token, piece in enumerate(self.tokens):
            if not piece and token not in aside:
                raise ValueError(f"token {token} has no bytes: only a special one may be empty")
        for place, (a, b) in enumerate(self.merges):
            if not (0 <= a < size and 0 <= b < size):
                raise ValueError(f"merge {place} is of {a} and {b}: ids are 0 to {size - 1}")

    def _merged(
        self, content: np.ndarray, bounds: np.ndarray, *, split: bool, whole: np.ndarray
    ) -> Int32[np.ndarray, " tokens"]:
        isolate = self.pattern is not None and self.pattern.isolate_numbers
        classes = character_classes() if split else np.zeros(1, dtype=np.uint8)
        return encode(
            content, bounds, classes, isolate, split, self._bytes, self._pairs, self.trie, whole
        )

    def _kept_whole(self) -> Bool[np.ndarray, " tokens"]:
        """Whether the merges make each token of its bytes: then a word that is it needs none."""
        known = {byte for byte in range(256) if self._bytes[byte] != NONE}
        ids = {piece: token for piece, token in self._ids.items() if known.issuperset(piece)}
        content = as_array(b"".join(ids))
        ends = np.cumsum([len(piece) for piece in ids], dtype=np.int64)
        none = np.zeros(len(self.tokens), dtype=bool)
        found = self._merged(content, ends, split=False, whole=none)
        lengths = np.array([len(piece) for piece in self.tokens], dtype=np.int64)
        stops = np.cumsum(lengths[found])  # an end of a piece is where one of its tokens ends
        alone = np.diff(np.searchsorted(stops, ends, "right"), prepend=0) == 1
        none[[token for token, one in zip(ids.values(), alone, strict=True) if one]] = True
        return none
