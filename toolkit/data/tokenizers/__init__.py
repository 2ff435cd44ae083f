"""Tokenizers trained and run on bytes: BPE, Unigram and BytePiece.

Text becomes bytes, bytes are cut into segments or words, and a vocabulary says which pieces they
are made of:

    to explain     plain: dictionaries and loops, which the lab asks for
    to cut         text: bytes and lines; splitting: GPT-2's words
    to run         trie -> paths: the best path or a random one; merging: BPE's merges
    to learn       counting -> ngrams -> bytepiece_training; bpe_training
    and Unigram    unigram_seeds -> unigram_em -> unigram_training
    to use         tokenizer: bpe, scored: unigram, bytepiece; files, loading, sentencepiece_model
    to look at     lattice

Not in here: WordPiece, and regular expressions other than GPT-2's.
"""

from .bpe import BPE
from .bytepiece import BytePiece
from .lattice import Lattice, lattice
from .loading import load
from .plain import (
    count_ngrams,
    log_probabilities,
    prune,
    recount,
    sample_segmentation,
    segmentation_score,
    viterbi,
)
from .splitting import GPT2, SMOLLM, Pattern
from .text import TextFiles
from .tokenizer import Tokenizer
from .unigram import Unigram

__all__ = [
    "BPE",
    "GPT2",
    "SMOLLM",
    "BytePiece",
    "Lattice",
    "Pattern",
    "TextFiles",
    "Tokenizer",
    "Unigram",
    "count_ngrams",
    "lattice",
    "load",
    "log_probabilities",
    "prune",
    "recount",
    "sample_segmentation",
    "segmentation_score",
    "viterbi",
]
