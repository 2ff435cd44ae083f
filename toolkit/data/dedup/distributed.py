"""Near-duplicates beyond one machine: the stages of ``search`` and ``cluster``, on Ray Data.

    texts -> sketches -> a row for each key -> those of one key meet -> candidate pairs
    texts in a candidate pair -> exact sets -> those of one cell meet -> verified pairs

What a stage computes is what one process computes, by the same functions. Ray reads, spreads the
work, and shuffles twice: numbers by their key, then sets by their cell. The pairs, numbers alone,
come to the calling process, which decides who stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from xxhash import xxh3_64_intdigest

from .candidates import pairs_by_keys
from .cluster import first_kept
from .hashing import B, ShingleSets
from .radius import Radius
from .search import Method, Search
from .shingling import Unit

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef
    from ray.data import Dataset

KEYS = 1 << 20
"""Of one table, that a worker sorts at a time: rows of 48 bytes."""

SHINGLES = 1 << 20
"""Of the documents on one side of a cell: hashes of 8 bytes."""

Columns = dict[str, np.ndarray]

NO_PAIRS = np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class DatasetDeduplication:
    """What ``deduplicate_dataset`` found and decided.

    Attributes:
        dataset: the rows to keep, with all their columns; read when it is consumed.
        ids: of all documents, ascending.
        duplicate_of: for each of ``ids``, that of the kept document it duplicates; itself if kept.
        candidates: pairs compared.
    """

    dataset: Dataset
    ids: Int64[np.ndarray, " documents"]
    duplicate_of: Int64[np.ndarray, " documents"]
    candidates: int


def deduplicate_dataset(
    dataset: Dataset,
    threshold: float = 0.8,
    *,
    column: str = "text",
    id_column: str = "id",
    method: Method = "minhash",
    radius: int | None = None,
    ngram: int = 5,
    unit: Unit = "word",
    seed: int = 1,
) -> DatasetDeduplication:
    """Choose the documents of a Ray dataset to keep: those that ``deduplicate`` keeps.

    Ids give the order, so of a cluster the document with the least stays; how rows are ordered
    and cut into blocks changes nothing. A dataset without ids can be numbered, in an order that
    is Ray's, by ``with_column("id", monotonically_increasing_id())`` of ``ray.data.expressions``;
    follow it with ``materialize()``, for each reading numbers anew.

    The dataset is read twice, and once more with the result. On the way a document is a row of
    0.6 kB and one of 40 bytes for each key: 17 at 0.8. Only of documents in a candidate pair are
    the sets made once more and brought together, as a rule once each.

    Copies (equal sets and sketches, by a 64-bit hash) are found by their keys and never compared.
    Any others that share a key are: n of them are n²/2 pairs for one worker, and for the calling
    process, which holds about 100 bytes a candidate pair and 50 a document. That, not Ray, is
    the limit of this function.

    Args:
        dataset: a row a document.
        threshold: Jaccard similarity, 0 < threshold < 1.
        column: of the texts.
        id_column: of whole numbers, all different.
        method, radius, ngram, unit, seed: as in ``deduplicate``.
    Returns:
        DatasetDeduplication.
    Raises:
        ModuleNotFoundError: Ray isn't installed.
        TypeError: ``dataset`` is no Ray dataset, a column or a number is of the wrong kind.
        ValueError: no such column; a text or an id is missing, or an id there twice; an argument
            outside its range; a radius without "simhash", or none with it.
    """
    search = Search.by(threshold, method, radius, ngram, unit, seed)
    try:
        import ray.data
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'deduplicate_dataset needs Ray: pip install "llm-systems-by-hand[ray]"'
        ) from None
    _check_columns(dataset, column, id_column)
    texts = dataset.select_columns([id_column, column]).rename_columns(["id", "text"])

    sketching = texts.map_batches(partial(_sketch, search=search), batch_format="pyarrow")
    sketches = sketching.materialize()
    ids, sizes = _documents(sketches)
    copies, pairs = _candidates(sketches, ids, search) if sizes.any() else (NO_PAIRS, NO_PAIRS)
    near = _verified(texts, ids, sizes, pairs, search) if len(pairs) else NO_PAIRS

    first = first_kept(len(ids), near)
    first[copies[:, 1]] = first[copies[:, 0]]  # all copies are near to the same documents
    removed = ray.put(ids[first != np.arange(len(ids))])
    without = partial(_without, id_column=id_column, removed=removed)
    kept = dataset.map_batches(without, batch_format="pyarrow")
    return DatasetDeduplication(kept, ids, ids[first], len(pairs))


def _check_columns(dataset: Dataset, column: str, id_column: str) -> None:
    import pyarrow as pa
    import ray.data

    if not isinstance(dataset, ray.data.Dataset):
        got = f"{type(dataset).__name__}: ray.data.from_items and its like make one"
        raise TypeError(f"dataset must be a ray.data.Dataset, got {got}")
    schema = dataset.schema()
    kinds = dict(zip(schema.names, schema.types, strict=True)) if schema else {}
    for name, holds, suits in (
        (column, "text", lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind)),
        (id_column, "whole numbers", pa.types.is_integer),
    ):
        if name not in kinds:
            raise ValueError(f"the dataset has no column {name!r}, only {list(kinds)}")
        if not (isinstance(kinds[name], pa.DataType) and suits(kinds[name])):
            raise TypeError(f"column {name!r} must hold {holds}, it holds {kinds[name]}: cast it")


def _sketch(batch: pa.Table, search: Search) -> Columns:
    """A row a document: its sketch, and a hash of all that it is compared by."""
    # The type of a column is a block's own: null where all are missing.
    ids, texts = batch["id"].cast("int64"), batch["text"].cast("large_string")
    sets, sketches = search.sketch_all(texts.fill_null("").to_pylist(), workers=1)
    whole = [xxh3_64_intdigest(sets[d].tobytes() + sketches[d].tobytes()) for d in range(len(sets))]
    return {
        "id": ids.fill_null(0).to_numpy(),
        "missing": ids.is_null().to_numpy() | texts.is_null().to_numpy(),
        "shingles": sets.sizes,
        "sketch": sketches,
        "whole": np.array(whole, dtype=np.uint64),
    }


def _documents(
    sketches: Dataset,
) -> tuple[Int64[np.ndarray, " documents"], Int64[np.ndarray, " documents"]]:
    """The ids, ascending, and how many shingles each document has."""
    ids, missing, sizes = _numbers(sketches, "id", "missing", "shingles").T
    if missing.any():
        raise ValueError(f"{missing.sum()} rows have no id or no text (null): drop or fill them")
    order = np.argsort(ids)
    ids, sizes = ids[order], sizes[order]
    repeated = ids[1:][ids[1:] == ids[:-1]]
    if len(repeated):
        raise ValueError(f"id {repeated[0]} is there twice: every document needs its own")
    return ids, sizes


def _candidates(
    sketches: Dataset, ids: Int64[np.ndarray, " documents"], search: Search
) -> tuple[Int64[np.ndarray, "copies 2"], Int64[np.ndarray, "pairs 2"]]:
    """Each copy with its original, and the pairs of originals that share a key.

    The original is the first of equal documents. All are indices into ``ids``.
    """
    slices = 1 + len(ids) // KEYS
    by_key = partial(_rows_by_key, search=search, documents=len(ids), slices=slices)
    rows = sketches.map_batches(by_key, batch_format="numpy").groupby(["table", "slice"])
    meetings = rows.map_groups(partial(_meet, search=search), batch_format="numpy")
    met = _numbers(meetings, "i", "j", "copy")
    copy = met[:, 2] == 1
    met = np.searchsorted(ids, met[:, :2])
    return met[copy], _distinct(met[~copy])  # a pair meets under each key that it shares


def _rows_by_key(batch: Columns, search: Search, documents: int, slices: int) -> Columns:
    """A row for each key of each document that has a word."""
    batch = {name: values[batch["shingles"] > 0] for name, values in batch.items()}
    keys = search.keys(batch["sketch"], documents)
    tables = keys.shape[1]
    # SimHash's keys are fingerprints: what they differ by is in the product's upper half.
    spread = keys * B >> np.uint64(32)
    compared = batch["sketch" if isinstance(search.rule, Radius) else "whole"]
    return {
        "table": np.tile(np.arange(tables), len(keys)),
        "slice": (spread % np.uint64(slices)).astype(np.int64).ravel(),
        "key": keys.ravel(),
        "id": np.repeat(batch["id"], tables),
        "whole": np.repeat(batch["whole"], tables),
        "fingerprint": np.repeat(compared, tables),
    }


def _meet(rows: Columns, search: Search) -> Columns:
    """In one slice of a table, each copy with its original, and the originals that share a key."""
    order = np.argsort(rows["id"])
    ids, keys, whole, fingerprints = (
        rows[name][order] for name in ("id", "key", "whole", "fingerprint")
    )
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    original = first[group]  # the row that each is a copy of, or itself
    is_copy = original != np.arange(len(ids))
    copies = np.flatnonzero(is_copy & (rows["table"] == 0))  # they meet again in every table
    originals = np.flatnonzero(~is_copy)
    pairs = originals[
        pairs_by_keys(
            fingerprints[originals],
            lambda groups: keys[originals[groups], None],
            search.rule.k if isinstance(search.rule, Radius) else None,
        )
    ]
    i, j = ids[np.concatenate([np.stack([original[copies], copies], axis=1), pairs])].T
    return {"i": i, "j": j, "copy": np.arange(len(i)) < len(copies)}


def _verified(
    texts: Dataset,
    ids: Int64[np.ndarray, " documents"],
    sizes: Int64[np.ndarray, " documents"],
    pairs: Int64[np.ndarray, "pairs 2"],
    search: Search,
) -> Int64[np.ndarray, "pairs 2"]:
    """The near-duplicates among candidate pairs, ascending.

    Documents are laid in a row, those that pairs link side by side, and the row is cut into runs
    of one size. A cell has the pairs between two runs, so none outgrows a worker; and most sets
    are sent but once, since most pairs lie within one run.
    """
    import ray

    links = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(len(ids), len(ids)))
    _, component = connected_components(links, directed=False)
    paired = np.unique(pairs)
    row = paired[np.argsort(component[paired], kind="stable")]
    run = np.zeros(len(ids), dtype=np.int64)
    run[row] = np.cumsum(sizes[row]) // SHINGLES
    _, cell = np.unique(run[pairs] @ [run.max() + 1, 1], return_inverse=True)

    order = np.argsort(cell, kind="stable")
    asked = _distinct(np.stack([pairs.ravel(), np.repeat(cell, 2)], axis=1))
    asked[:, 0] = ids[asked[:, 0]]
    gather = partial(_sets, search=search, asked=ray.put(asked))
    verify = partial(_verify, search=search, cells=ray.put((ids[pairs[order]], cell[order])))
    cells = texts.map_batches(gather, batch_format="pyarrow").groupby("cell")
    near = _numbers(cells.map_groups(verify, batch_format="pyarrow"), "i", "j")
    near = np.searchsorted(ids, near)
    return near[np.lexsort((near[:, 1], near[:, 0]))]


def _sets(batch: pa.Table, search: Search, asked: ObjectRef) -> pa.Table:
    """The sets of the documents that are asked for, a row for each cell that asks."""
    import pyarrow as pa
    import ray

    asked_ids, cells = ray.get(asked).T
    ids = batch["id"].cast("int64").to_numpy()
    start, stop = np.searchsorted(asked_ids, ids), np.searchsorted(asked_ids, ids, side="right")
    some = np.flatnonzero(start < stop)
    sets, _ = search.sketch_all(batch["text"].take(some).to_pylist(), workers=1)
    document = np.repeat(np.arange(len(some)), (stop - start)[some])
    return pa.table(
        {
            "cell": np.concatenate([cells[:0], *(cells[start[d] : stop[d]] for d in some)]),
            "id": ids[some][document],
            "set": pa.array([sets[d].tobytes() for d in document.tolist()], pa.large_binary()),
        }
    )


def _verify(rows: pa.Table, search: Search, cells: ObjectRef) -> Columns:
    """The near-duplicates among the pairs of one cell."""
    import ray

    pairs, cell = ray.get(cells)
    start, stop = np.searchsorted(cell, rows["cell"][0].as_py() + np.arange(2))
    pairs = pairs[start:stop]
    rows = rows.sort_by("id")
    each = rows["set"].to_pylist()
    hashes = np.frombuffer(bytearray().join(each), dtype=np.uint64)
    sets = ShingleSets(hashes, np.cumsum([0, *map(len, each)]) // hashes.itemsize)
    positions = np.searchsorted(rows["id"].to_numpy(), pairs)
    i, j = pairs[search.verify(sets, positions) >= search.threshold].T
    return {"i": i, "j": j}


def _without(batch: pa.Table, id_column: str, removed: ObjectRef) -> pa.Table:
    """The rows that are not removed."""
    import ray

    ids, gone = batch[id_column].cast("int64").to_numpy(), ray.get(removed)
    return batch.filter(np.searchsorted(gone, ids) == np.searchsorted(gone, ids, side="right"))


def _numbers(dataset: Dataset, *names: str) -> Int64[np.ndarray, "rows names"]:
    """Columns of whole numbers, from the workers to here."""
    batches = dataset.select_columns(list(names)).iter_batches(
        batch_size=None, batch_format="numpy"
    )
    found = [np.stack([batch[name] for name in names], axis=1) for batch in batches]
    return np.concatenate([np.empty((0, len(names)), np.int64), *found])


def _distinct(rows: Int64[np.ndarray, "rows 2"]) -> Int64[np.ndarray, "distinct 2"]:
    """The different rows of small numbers, ascending; far faster than by ``axis=0``."""
    base = rows.max(initial=0) + 1
    return np.stack(np.divmod(np.unique(rows @ [base, 1]), base), axis=1)
