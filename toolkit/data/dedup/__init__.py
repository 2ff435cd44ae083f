"""Near-duplicate documents: shingles, Jaccard, MinHash, banded LSH, verified clusters.

Text becomes a set of shingles, a set becomes a signature, signatures that agree on a band become
candidates, candidates are verified, and of each cluster the first document is kept:

    shingling, hashing -> minhash -> bands, candidates -> exact -> cluster

Not in here: near-duplicates by meaning (two paraphrases share few shingles), and corpora larger
than memory.
"""

from .bands import Bands, bands_for_recall, optimal_bands
from .candidates import candidate_pairs, candidate_pairs_plain
from .cluster import Deduplication, deduplicate, keep
from .exact import all_pairs_jaccard
from .hashing import ShingleSets, shingle_hashes, shingle_sets
from .minhash import MinHasher, minhash_signature, permutations
from .sample import PairSample, sample_pairs
from .shingling import jaccard, shingles, words

__all__ = [
    "Bands",
    "Deduplication",
    "MinHasher",
    "PairSample",
    "ShingleSets",
    "all_pairs_jaccard",
    "bands_for_recall",
    "candidate_pairs",
    "candidate_pairs_plain",
    "deduplicate",
    "jaccard",
    "keep",
    "minhash_signature",
    "optimal_bands",
    "permutations",
    "sample_pairs",
    "shingle_hashes",
    "shingle_sets",
    "shingles",
    "words",
]
