"""Ours against the peers: same input, same run, in turn, with quality beside speed.

A benchmark is a file ``benchmarks/PART/NAME.py`` with

- a docstring that holds the ledger: what was predicted, what was measured, where ours loses;
- ``PACKAGES``, the distributions whose versions belong to the result;
- ``cases()``, which returns the ``Case``s.

``run("PART/NAME")`` measures them and writes ``benchmarks/results/PART/NAME.json``.
"""

from .harness import Case, Comparison, Peer, compare
from .results import run

__all__ = ["Case", "Comparison", "Peer", "compare", "run"]
