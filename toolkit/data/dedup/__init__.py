"""Near-duplicate documents, found without comparing all pairs, and repeated passages.

Text becomes a set of shingles, a set becomes a sketch, sketches that share a key become candidates,
candidates are verified on the exact sets, and of each cluster the first document is kept:

    what it is      shingling -> exact                      strings and sets, all pairs
    from raw text   folding -> hashing (blocks: in threads)
    sketches        minhash, bands      or      simhash, radius
    candidates      candidates          or      hamming
    who stays       search -> cluster, at once; index, one by one; distributed, on Ray
    from files      inputs, lines -> work, stream           the command ``toolkit dedup``
    passages        spans, suffixes -> substrings

Not in here: near-duplicates by meaning. Two paraphrases share few shingles.
"""

from .bands import Bands, bands_for_recall, optimal_bands
from .candidates import candidate_pairs, candidate_pairs_plain
from .cluster import Deduplication, deduplicate, keep
from .distributed import DatasetDeduplication, deduplicate_dataset
from .exact import all_pairs_jaccard
from .hamming import hamming_pairs, hamming_pairs_plain
from .hashing import ShingleSets, shingle_hashes, shingle_sets
from .index import DedupIndex, Match
from .minhash import MinHasher, minhash_signature, permutations
from .radius import Radius
from .sample import PairSample, sample_pairs
from .shingling import jaccard, shingles, words
from .simhash import SimHasher, simhash_fingerprint
from .substrings import (
    Passages,
    remove_passages,
    repeated_passages,
    repeated_passages_plain,
)

__all__ = [
    "Bands",
    "DatasetDeduplication",
    "DedupIndex",
    "Deduplication",
    "Match",
    "MinHasher",
    "PairSample",
    "Passages",
    "Radius",
    "ShingleSets",
    "SimHasher",
    "all_pairs_jaccard",
    "bands_for_recall",
    "candidate_pairs",
    "candidate_pairs_plain",
    "deduplicate",
    "deduplicate_dataset",
    "hamming_pairs",
    "hamming_pairs_plain",
    "jaccard",
    "keep",
    "minhash_signature",
    "optimal_bands",
    "permutations",
    "remove_passages",
    "repeated_passages",
    "repeated_passages_plain",
    "sample_pairs",
    "shingle_hashes",
    "shingle_sets",
    "shingles",
    "simhash_fingerprint",
    "words",
]
