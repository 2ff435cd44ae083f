"""Tokenizers beside their peers: encoding by one vocabulary, and learning one from the same lines.

Input: licence texts (English) and Chinese reviews. What is encoded is given to all as the
same list of strings; what is learnt from, and the lines held out, are distinct lines without
newlines, in NFC, as many bytes of each language. One thread. ``splitting of ...`` in the
parameters says what each tool may not merge across, without which no figure of compression means
anything. The package bytepiece runs in an environment of its own, every tool that learns in a
process of its own, started and given its input before it is timed. ``training_mib`` is by how
much that process grew at its highest; the loops of ours were compiled before.

Ledger
------
Encoding by BPE
    Predicted: at least as fast as tokenizers and half as fast as tiktoken, every id the same.
    Measured: every id of 10,000 varied texts is theirs. 3.6 times tokenizers on Chinese, 7.6 on
    English, 10 on one text of 4 MB. As fast
    as tiktoken on Chinese, 2.4 times on English and on one text: tiktoken merges in compiled code
    too, but finds the words with a regular expression.
BytePiece
    Predicted: 99 % of the package's vocabulary in a tenth of the time of its one process; any
    line cut alike at 5 times its speed.
    Measured: the vocabulary is the same to the last piece, 32 times as fast, in 0.7 of the memory,
    18 bytes for a byte of text. Lines are cut alike by either's file: 5 times as fast in lines of
    130 bytes (3.6 until three calls into compiled code became one), 9 in lines of 10 kB, 75 in one
    of 1 MB, where the package copies what is left of the text at every piece. Spelling rare
    characters, which the package does not, changes nothing in lines as short as these.
Unigram
    Predicted: bytes per token within 1 % of SentencePiece's where nothing but lines is split.
    Measured: 1.4 % more with pieces of at most 32 characters, in 0.4 of the time. A piece of ours
    may end in a space, SentencePiece's not. With 16 characters a slow test holds the two
    within 1 %.
As a SentencePiece model
    Predicted: 99.5 % of lines cut alike. Measured: 99.97 % by BytePiece, 99.85 % by Unigram; in
    the others two paths are equally likely.
Compression
    Predicted, from what was published: BytePiece first. From an earlier trial: only while the
    others split and it does not.
    Measured: 4.20 bytes per token; where nothing but lines is split BPE has 5.1 to 5.2 and Unigram
    5.0 to 5.1. Even split into words they have 4.4 to 4.5. Each line stands once, and licences
    share their phrases, so that long pieces pay more here than elsewhere.
Where ours loses
    Learning BPE takes twice the time of SentencePiece and 2.6 times its memory; most memory of all
    under either splitting, 706 MiB where lines are whole, which the others cut at 36. SentencePiece
    runs our exported models 1.4 times as fast as we do, line by line: many short lines are one call
    there. The first use compiles for seconds, once a machine.
"""

from __future__ import annotations

import sys

from toolkit import course
from toolkit.bench import Case

sys.path.append(str(course.root()))  # the command doesn't look there

from benchmarks.data.tokenizers_peers import corpora
from benchmarks.data.tokenizers_peers.encoding import encoding
from benchmarks.data.tokenizers_peers.learning import (
    learning,
    learning_bytepiece,
    memory_of_training,
)
from benchmarks.data.tokenizers_peers.scored import beside_bytepiece, bytepiece, exported, unigram
from benchmarks.data.tokenizers_peers.training import WHOLE, WORDS

PACKAGES = ("numpy", "numba", "sentencepiece", "tiktoken", "tokenizers")


def cases() -> list[Case]:
    """Ours and each peer on the same input, with the quality that each reaches."""
    varied = corpora.varied()
    return [
        *encoding("English", corpora.english()),
        *encoding("Chinese", corpora.chinese()),
        *encoding("10,000 varied texts", varied),
        *encoding("one varied text", ["".join(varied)]),
        beside_bytepiece("lines", corpora.held_out(), rounds=5),
        *(
            beside_bytepiece(f"lines of {length // 1000:,} kB", lines, rounds=3)
            for length in (10_000, 100_000, 1_000_000)
            for lines in [corpora.long_lines(length, 1_000_000)]
        ),
        exported("BytePiece", bytepiece()),
        exported("Unigram", unigram()),
        learning_bytepiece(),
        learning("Unigram, whole lines", "our Unigram", [f"SentencePiece Unigram, {WHOLE}"]),
        learning(
            "BPE, whole lines",
            f"our BPE, {WHOLE}",
            [f"SentencePiece BPE, {WHOLE}", f"tokenizers BPE, {WHOLE}"],
        ),
        learning(
            "as each tool splits by default",
            f"our BPE, {WORDS}",
            [
                f"tokenizers BPE, {WORDS}",
                f"SentencePiece BPE, {WORDS}",
                f"SentencePiece Unigram, {WORDS}",
            ],
        ),
        memory_of_training(),
    ]
