"""``deduplicate_dataset`` on a local Ray of two workers, against ``deduplicate`` in one process."""

import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from toolkit import assets
from toolkit.data.dedup import deduplicate, deduplicate_dataset, distributed

NO_RAY = "Ray, the extra `ray`, is not installed"
METHODS = [("minhash", None), ("simhash", 6)]


# Ray warns of its own settings as it reads them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


@pytest.fixture(scope="module")
def ray_as_it_comes():
    """Ray in a folder of its own, asking nothing of the network."""
    ray = pytest.importorskip("ray", reason=NO_RAY)
    pytest.importorskip("ray.data", reason=NO_RAY)
    folder = tempfile.mkdtemp(prefix="ray")  # short: it holds sockets, whose names may not be long
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        environment.setenv("RAY_worker_niceness", "0")  # else they wait for every other process
        environment.setenv("RAY_num_workers_soft_limit", "8")  # else idle ones end, to start again
        _start(
            ray,
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=300 << 20,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=folder,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _start(ray, attempts=5, **settings):
    """``ray.init``, which gives a busy machine no more than 30 s, tried again."""
    for attempt in range(attempts):
        try:
            ray.init(**settings)
            return
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == attempts - 1:
                raise


@pytest.fixture
def ray(ray_as_it_comes, monkeypatch):
    """Ray without its own choice of a shuffle, which starts new processes for every step."""
    context = ray_as_it_comes.data.DataContext.get_current()
    monkeypatch.setattr(context, "shuffle_strategy", "sort_shuffle_pull_based")
    return ray_as_it_comes


def made_up_texts(seed, documents=300):
    """Copies, chains of neighbours, empty and very short texts, in no order."""
    rng = random.Random(seed)
    texts = ["", "...", "two words", "Two words!", ""]
    while len(texts) < documents:
        kind = rng.random()
        if kind < 0.3:
            texts.append(" ".join(f"w{rng.randrange(500)}" for _ in range(rng.choice([4, 30, 90]))))
        elif kind < 0.5:
            texts.append(rng.choice(texts))
        else:
            words = rng.choice(texts).split() or ["w"]
            words[rng.randrange(len(words))] = f"w{rng.randrange(500)}"
            texts.append(" ".join(words))
    rng.shuffle(texts)
    return texts


def rows_of(texts, ids=None):
    return [
        {"id": i, "text": text}
        for i, text in zip(range(len(texts)) if ids is None else ids, texts, strict=True)
    ]


def assert_as_in_one_process(result, texts, **settings):
    """Of a result whose ids are the numbers of the texts."""
    expected = deduplicate(texts, **settings)
    assert result.ids.tolist() == list(range(len(texts)))
    assert result.duplicate_of.tolist() == expected.duplicate_of.tolist()
    kept = [row["id"] for row in result.dataset.take_all()]
    assert sorted(kept) == expected.kept.tolist()
    assert result.candidates <= expected.candidates
    return expected


@pytest.mark.slow
@pytest.mark.parametrize(("method", "radius"), METHODS)
@pytest.mark.parametrize("blocks", [1, 7])
def test_it_decides_as_one_process_whatever_the_order_and_the_blocks(ray, method, radius, blocks):
    texts = made_up_texts(blocks)
    rows = rows_of(texts)
    random.Random(2).shuffle(rows)
    dataset = ray.data.from_items(rows, override_num_blocks=blocks)
    settings = {"threshold": 0.6, "method": method, "radius": radius}
    expected = assert_as_in_one_process(deduplicate_dataset(dataset, **settings), texts, **settings)
    assert len(expected.empty) > 2
    chained = set(expected.pairs["i"].tolist()) & (set(range(300)) - set(expected.kept.tolist()))
    assert chained  # a removed document is near to a later one, which it must not remove
    assert 50 < len(expected.kept) < 250


@pytest.mark.slow
@pytest.mark.parametrize(("method", "radius"), METHODS)
def test_licence_texts_in_many_cells_and_slices(ray, method, radius, monkeypatch):
    monkeypatch.setattr(distributed, "KEYS", 500)
    monkeypatch.setattr(distributed, "SHINGLES", 20_000)
    corpus = assets.texts("license-texts").texts
    texts = [text for text in corpus if len(text.split()) >= 20][::10]
    assert len(texts) == 1445
    dataset = ray.data.from_items(rows_of(texts), override_num_blocks=4)
    result = deduplicate_dataset(dataset, method=method, radius=radius)
    expected = assert_as_in_one_process(result, texts, method=method, radius=radius)
    assert len(expected.kept) < 1400


@pytest.mark.slow
def test_settings_and_columns_of_other_names(ray):
    texts = made_up_texts(5, 120)
    ids = np.arange(len(texts)) * 7 - 400
    rows = [
        {"body": text, "text": -i, "number": i} for text, i in zip(texts, ids.tolist(), strict=True)
    ]
    dataset = ray.data.from_items(rows, override_num_blocks=3)
    settings = {"ngram": 9, "unit": "char", "seed": 3, "threshold": 0.7}
    result = deduplicate_dataset(dataset, column="body", id_column="number", **settings)
    expected = deduplicate(texts, **settings)
    assert result.ids.tolist() == ids.tolist()
    assert result.duplicate_of.tolist() == ids[expected.duplicate_of].tolist()
    kept = sorted(result.dataset.take_all(), key=lambda row: row["number"])
    assert kept == [rows[i] for i in expected.kept.tolist()]


@pytest.mark.slow
def test_copies_are_not_compared(ray):
    original = " ".join(f"w{i}" for i in range(30))
    near = original + " more"
    texts = ["elsewhere and alone", *[near] * 200, *[original] * 300, *[near.upper()] * 100]
    result = deduplicate_dataset(ray.data.from_items(rows_of(texts), override_num_blocks=3))
    assert_as_in_one_process(result, texts)
    assert result.candidates == 1
    assert np.unique(result.duplicate_of).tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("texts", [[""] * 5, ["one"], ["a b", "", "c d"]])
def test_documents_that_share_nothing(ray, texts):
    dataset = ray.data.from_items(rows_of(texts), override_num_blocks=len(texts))
    result = deduplicate_dataset(dataset)
    assert_as_in_one_process(result, texts)
    assert result.candidates == 0


@pytest.mark.slow
def test_no_document(ray):
    pa = pytest.importorskip("pyarrow")
    empty = pa.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    result = deduplicate_dataset(ray.data.from_arrow(empty))
    assert (len(result.ids), result.dataset.count()) == (0, 0)


@pytest.mark.slow
def test_a_dataset_can_be_numbered_and_ray_shuffles_as_it_likes(ray_as_it_comes, monkeypatch):
    from ray.data.expressions import monotonically_increasing_id

    monkeypatch.setattr(distributed, "SHINGLES", 200)  # cells, in no order
    texts = [{"text": text} for text in made_up_texts(7)]
    plain = ray_as_it_comes.data.from_items(texts, override_num_blocks=3)
    numbered = plain.with_column("id", monotonically_increasing_id()).materialize()
    result = deduplicate_dataset(numbered, threshold=0.5)
    rows = sorted(numbered.take_all(), key=lambda row: row["id"])
    expected = deduplicate([row["text"] for row in rows], threshold=0.5)
    assert result.ids.tolist() == [row["id"] for row in rows]
    assert result.duplicate_of.tolist() == result.ids[expected.duplicate_of].tolist()


# Bad input


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "settings", "error", "sentence"),
    [
        (rows_of("ab"), {"column": "body"}, ValueError, "no column 'body', only ['id', 'text']"),
        (rows_of("ab"), {"id_column": "url"}, ValueError, "no column 'url', only"),
        (rows_of([1, 2]), {}, TypeError, "column 'text' must hold text, it holds int64: cast it"),
        (rows_of("ab", "xy"), {}, TypeError, "column 'id' must hold whole numbers, it holds str"),
        (rows_of("ab", [0, 0.5]), {}, TypeError, "must hold whole numbers, it holds double"),
        (rows_of(["a", None, None]), {}, ValueError, "2 rows have no id or no text (null)"),
        (rows_of("abc", [None, 1, 2]), {}, ValueError, "1 rows have no id or no text (null)"),
        (rows_of("abc", [4, 9, 4]), {}, ValueError, "id 4 is there twice: every document needs"),
        (rows_of("ab"), {"threshold": 1.0}, ValueError, "threshold must be between 0 and 1"),
    ],
)
def test_bad_datasets_are_refused_in_one_sentence(ray, rows, settings, error, sentence):
    with pytest.raises(error) as refused:
        deduplicate_dataset(ray.data.from_items(rows), **settings)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_list_is_no_dataset():
    pytest.importorskip("ray", reason=NO_RAY)
    with pytest.raises(TypeError, match=r"must be a ray\.data\.Dataset, got list: ray\.data\.from"):
        deduplicate_dataset(["a", "b"])


def test_bad_settings_are_refused_before_ray_is_asked_for():
    with pytest.raises(ValueError, match="simhash needs a radius"):
        deduplicate_dataset(None, method="simhash")


WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from toolkit.data.dedup import deduplicate, deduplicate_dataset
assert deduplicate(["a"]).kept.tolist() == [0]
try:
    deduplicate_dataset(None)
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_ray_one_sentence_names_the_extra():
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY], capture_output=True, text=True, check=True
    ).stdout
    assert said == 'deduplicate_dataset needs Ray: pip install "llm-systems-by-hand[ray]"\n'


def test_importing_the_package_does_not_import_ray():
    program = "import sys, toolkit.data.dedup; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=os.environ).returncode == 0
