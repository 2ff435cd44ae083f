"""Records as the chapters' functions give them, and widgets on a static page or in JupyterLab."""

from __future__ import annotations

import functools
import http.server
import math
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest

from toolkit import course
from toolkit.classroom.jupyter import command, environment
from toolkit.data.dedup import Bands, PairSample
from toolkit.data.tokenizers import Lattice
from toolkit.kernels.trace.record import Access, KernelTrace, Problem, TracedTensor
from toolkit.models import positions
from toolkit.models.llama import Lens
from toolkit.models.positions import Dials
from toolkit.serving.batching import Blocks, Sarathi, Schedule, Trace, VllmV0, VllmV1, simulate
from toolkit.serving.batching.scheduler import Scheduler
from toolkit.serving.batching.state import LiveRequest, Request
from toolkit.serving.kv_cache import PrefixBlocks
from toolkit.serving.kv_cache import RadixTree as PrefixTree
from toolkit.serving.kv_cache.block_history import BlockHistory, BlockRecorder
from toolkit.serving.kv_cache.tree_history import TreeHistory, TreeRecorder
from toolkit.viz import Blocks as BlockMap
from toolkit.viz import (
    Buckets,
    LogitLens,
    RadixTree,
    Rotations,
    Segmentation,
    Tiles,
    Timeline,
    static_files,
)

PAGE = """<!doctype html>
<html lang="en" data-content_root="../" data-theme="light">
<head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  html[data-theme="light"] {{ color-scheme: light; --pst-color-text-base: #222832;
    --pst-color-text-muted: #48566b; --pst-color-border: #d1d5da; --pst-color-background: #fff;
    --pst-color-surface: #f3f4f5; }}
  html[data-theme="dark"] {{ color-scheme: dark; --pst-color-text-base: #ced6dd;
    --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b;
    --pst-color-background: #14181e; --pst-color-surface: #29313d; }}
  html {{ background: var(--pst-color-background); color: var(--pst-color-text-base); }}
  body {{ font-family: system-ui, sans-serif; margin: 0 10px; }}
</style></head>
<body><main><h1>A page</h1>{body}</main></body></html>
"""


def draw_sample(
    pairs: int = 600, positions: int = 128, threshold: float = 0.8, method: str = "minhash"
) -> PairSample:
    """Pairs that agree at each position as the method's do."""
    rng = np.random.default_rng(7)
    jaccard = np.sort(rng.random(pairs))
    jaccard[-1] = 1.0
    jaccard[np.searchsorted(jaccard, threshold)] = threshold  # exactly at it counts as alike
    chance = {"minhash": jaccard, "simhash": 1 - np.arccos(2 * jaccard / (1 + jaccard)) / np.pi}
    agree = rng.random((pairs, positions)) < chance[method][:, None]
    weight = np.exp(9 * (1 - jaccard)).round(3)
    first = np.arange(pairs)
    return PairSample(
        method=method,
        jaccard=jaccard,
        agree=np.packbits(agree, axis=1),
        stands_for=weight,
        documents=np.stack([first, first + 1 + rng.integers(0, 900, pairs)], axis=1),
        positions=positions,
        threshold=threshold,
        total_pairs=int(weight.sum()),
    )


@pytest.fixture(scope="session")
def sample() -> PairSample:
    return draw_sample()


@pytest.fixture(scope="session")
def draw() -> Callable[..., PairSample]:
    return draw_sample


@pytest.fixture(scope="session")
def small() -> PairSample:
    return draw_sample(60, positions=24)


@pytest.fixture(scope="session")
def prints() -> PairSample:
    """A sample by SimHash."""
    return draw_sample(positions=64, method="simhash")


@pytest.fixture
def buckets(sample: PairSample) -> Buckets:
    return Buckets(sample, Bands(14, 8))


@pytest.fixture
def near(prints: PairSample) -> Buckets:
    """The widget over a sample by SimHash."""
    return Buckets(prints, radius=10)


SENTENCES = (
    "the tokenizer takes the text to tokens, and the tokens to the model",
    "今天天气很好，我们今天去天安门看天气",
    "a ab aba",
)
KINDS = ("BPE", "Unigram", "BytePiece")


def toy_vocabulary(kind: str) -> dict[bytes, float]:
    """Runs of the sentences that stand there twice, and all their bytes, with log-probabilities."""
    longest = {"BPE": 4, "Unigram": 6, "BytePiece": 12}[kind]
    counts: Counter[bytes] = Counter()
    for text in map(str.encode, SENTENCES):
        for start in range(len(text)):
            for end in range(start + 1, min(start + longest, len(text)) + 1):
                counts[text[start:end]] += end - start
    kept = {run: n for run, n in counts.items() if len(run) == 1 or n >= 2 * len(run)}
    kept |= {bytes([byte]): kept.get(bytes([byte]), 1) for byte in range(256)}
    total = sum(kept.values())
    return {run: math.log(n / total) for run, n in kept.items()}


def toy_lattice(kind: str, text: bytes, vocabulary: dict[bytes, float] | None = None) -> Lattice:
    """The lattice of a text, by brute force: every run of it that is in the vocabulary."""
    vocabulary = vocabulary or toy_vocabulary(kind)
    ids = {piece: at for at, piece in enumerate(sorted(vocabulary))}
    size = len(text)
    edges = [
        (start, end)
        for end in range(1, size + 1)
        for start in range(end)
        if text[start:end] in vocabulary
    ]
    pieces = [text[start:end] for start, end in edges]
    scores = [vocabulary[piece] for piece in pieces]
    made: list[tuple[int, int]] = []
    if kind == "BPE":
        ranked = sorted(vocabulary, key=lambda piece: (len(piece), -vocabulary[piece], piece))
        rank = {piece: at for at, piece in enumerate(p for p in ranked if len(p) > 1)}
        path = [(at, at + 1) for at in range(size)]
        while True:
            pairs = [(a, d) for (a, _), (_, d) in pairwise(path)]
            known = [pair for pair in pairs if text[slice(*pair)] in rank]
            if not known:
                break
            best = min(known, key=lambda pair: (rank[text[slice(*pair)]], pair))
            made.append(best)
            path = [p for p in path if p[1] <= best[0] or p[0] >= best[1]] + [best]
            path.sort()
        scores = [float(-rank.get(piece, 0)) for piece in pieces]
    else:
        ways: list[tuple[float, list[tuple[int, int]]] | None] = [(0.0, [])] + [None] * size
        for edge, score in zip(edges, scores, strict=True):
            before, after = ways[edge[0]], ways[edge[1]]
            if before and (after is None or before[0] + score > after[0]):
                ways[edge[1]] = (before[0] + score, [*before[1], edge])
        path = ways[size][1]
    at = {edge: index for index, edge in enumerate(edges)}
    return Lattice(
        kind=kind,
        text=text,
        starts=np.array([start for start, _ in edges], np.int32),
        ends=np.array([end for _, end in edges], np.int32),
        ids=np.array([ids[piece] for piece in pieces], np.int32),
        scores=np.array(scores),
        best=np.array([at[edge] for edge in path], np.int32),
        merges=np.array([at[edge] for edge in made], np.int32),
    )


def cut_toy(text: str) -> list[Lattice]:
    """The lattices of one text by each of the toy tokenizers."""
    return [toy_lattice(kind, text.encode()) for kind in KINDS]


@pytest.fixture(scope="session")
def lattice() -> Callable[..., Lattice]:
    return toy_lattice


@pytest.fixture(scope="session")
def cut() -> Callable[[str], list[Lattice]]:
    return cut_toy


@pytest.fixture(scope="session")
def lattices() -> list[Lattice]:
    """Three sentences by three tokenizers."""
    return [lattice for sentence in SENTENCES for lattice in cut_toy(sentence)]


@pytest.fixture
def segmentation(lattices: list[Lattice]) -> Segmentation:
    return Segmentation(lattices)


@pytest.fixture(scope="session")
def dials() -> Dials:
    """Those of SmolLM2-135M."""
    return positions.dials(64, 100_000.0, 8192)


@pytest.fixture
def rotations(dials: Dials) -> Rotations:
    return Rotations(dials)


TOKENS = ("The", " cat", "\n", " 天", " sat<b>")


def toy_lens(tokens: tuple[str, ...] = TOKENS, depths: int = 7, k: int = 5, seed: int = 7) -> Lens:
    """Random logits over 60 tokens, but for the answer, the most likely token of the last depth.

    After token t it is first from depth 6 - 2t or the embedding on; after the last token at depth
    3, second at 4, and first from 5 on.
    """
    rng = np.random.default_rng(seed)
    words = (f" word{at}" for at in range(57))
    vocabulary = (*words, "\n", "天气", " internationalisation")
    logits = rng.normal(0, 1.2, (depths, len(tokens), len(vocabulary)))
    for token in range(len(tokens)):
        last = token == len(tokens) - 1
        sure = [3, *range(5, depths)] if last else range(max(0, depths - 1 - 2 * token), depths)
        answer = rng.integers(len(vocabulary))
        logits[:, token, answer] = -0.5
        for depth in sure:
            logits[depth, token, answer] = 4.5 + 0.3 * depth
        if last:
            logits[4, token, answer] = logits[4, token].max() - 1e-6
    chances = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    top = np.argsort(-chances, axis=2)
    said = np.take_along_axis(chances, top[-1:, :, :1], axis=2)
    return Lens(
        tokens=tokens,
        vocabulary=vocabulary,
        top=top[..., :k].astype(np.int32),
        probabilities=-np.sort(-chances, axis=2)[..., :k].astype(np.float32),
        said=said[..., 0].astype(np.float32),
        ranks=(chances > said).sum(2).astype(np.int32),
    )


@pytest.fixture(scope="session")
def lens() -> Callable[..., Lens]:
    return toy_lens


@pytest.fixture
def logit_lens() -> LogitLens:
    return LogitLens(toy_lens())


FLASH_SOURCE = """\
@triton.jit
def flash_forward(Q, K, V, O, L, seq, scale, BLOCK: tl.constexpr, D: tl.constexpr):
    start = tl.program_id(0) * BLOCK
    q = tl.load(Q + rows * D + columns)
    for first in range(0, start + BLOCK, BLOCK):
        k = tl.load(K + (first + keys) * D + columns)
        s = tl.dot(q, tl.trans(k)) * scale
        p, running_sum, accumulator = online_softmax(s, running_max, running_sum, accumulator)
        v = tl.load(V + (first + keys) * D + columns)
        accumulator += tl.dot(p, v)
    tl.store(O + rows * D + columns, accumulator / running_sum[:, None])
    tl.store(L + rows, running_max + tl.log(running_sum))
"""
FLASH_FIRST = 40  # line of the source's first line in its file


def flash_accesses(seq: int, dim: int, block: int, heads: int) -> Iterator[Access]:
    """What causal attention touches: each block of queries visits the keys up to its own.

    Each program's first load is of its queries; then for each block of keys it loads k, makes a
    dot, loads v, makes another; at last it stores the output and the log-sum-exp.
    """
    for x in range(seq // block):
        for y in range(heads):
            done: list[Access] = []

            def touch(kind, tensor, row, line, x=x, y=y, done=done):
                head = ((y, y + 1),) if heads > 1 else ()
                rows = (row * block, (row + 1) * block)
                tile = (*head, rows) if tensor == "L" else (*head, rows, (0, dim))
                elements = block if tensor == "L" else block * dim
                shape = (block,) if tensor == "L" else (block, dim)
                done.append(
                    Access((x, y, 0), len(done), kind, tensor, tile, shape, elements,
                           4 * elements, 0, FLASH_FIRST + line)
                )  # fmt: skip

            def multiply(size, line, x=x, y=y, done=done):
                flops = 2 * math.prod(size)
                where = FLASH_FIRST + line
                done.append(Access((x, y, 0), len(done), "dot", "", (), size, 0, 0, flops, where))

            touch("load", "Q", x, 3)
            for key in range(x + 1):
                touch("load", "K", key, 5)
                multiply((block, block, dim), 6)
                touch("load", "V", key, 8)
                multiply((block, dim, block), 9)
            touch("store", "O", x, 10)
            touch("store", "L", x, 11)
            yield from done


def toy_flash_trace(
    seq: int = 256, dim: int = 64, block: int = 64, heads: int = 1, faulty: bool = False
) -> KernelTrace:
    """A run of causal attention's forward pass in fp32, as the microscope would record it.

    A faulty one has a race on L, and reads past the end of K.
    """
    shape = (heads, seq, dim) if heads > 1 else (seq, dim)
    tensors = [TracedTensor(name, shape, "float32", 4) for name in "QKVO"]
    tensors.append(TracedTensor("L", shape[:-1], "float32", 4))
    race = Problem("race", "L", FLASH_FIRST + 11, (1, 0, 0), (block,), 64, 51, (0, 0, 0))
    outside = Problem("out of bounds", "K", FLASH_FIRST + 5, (3, 0, 0), (seq, 0), 512)
    return KernelTrace(
        kernel="flash_forward",
        source=FLASH_SOURCE,
        first_line=FLASH_FIRST,
        grid=(seq // block, heads, 1),
        tensors=tuple(tensors),
        accesses=tuple(flash_accesses(seq, dim, block, heads)),
        problems=(race, outside) if faulty else (),
        vector_flops=heads * seq * (4 * seq + 2 * dim),
    )


@pytest.fixture(scope="session")
def flash() -> Callable[..., KernelTrace]:
    return toy_flash_trace


@pytest.fixture
def tiles() -> Tiles:
    return Tiles(toy_flash_trace())


@dataclass(frozen=True)
class TokenSeconds:
    """20 ms for a batch, and 2 ms for each of its tokens."""

    stages: int = 1

    def seconds(self, work):
        return 0.02 + 0.002 * work.tokens


SERVED = {  # arrival, tokens of the prompt and of the answer
    "arrival": (0, 0.05, 0.1, 0.3, 0.5, 0.6),
    "prompt_tokens": (40, 20, 100, 60, 150, 30),
    "output_tokens": (20, 25, 12, 18, 9, 14),
}
POLICIES = {
    "vLLM v0": VllmV0(max_num_seqs=8),
    "Sarathi-Serve": Sarathi(chunk_size=32, max_num_seqs=8),
    "vLLM v1": VllmV1(max_num_batched_tokens=64, max_num_seqs=8),
}


def toy_schedule(name: str, stages: int = 1, blocks: int = 18, times: int = 1) -> Schedule:
    """Six requests, or them ``times`` over; Sarathi-Serve pre-empts request 3 for want of blocks.

    vLLM v0 stops request 0 for 428 ms while the prompt of request 4 is computed.
    """
    arrival = np.array(SERVED["arrival"])
    trace = Trace(
        np.concatenate([arrival + 2.5 * at for at in range(times)]),
        *(np.tile(SERVED[length], times) for length in ("prompt_tokens", "output_tokens")),
        max_tokens=32,
    )
    return simulate(trace, POLICIES[name], TokenSeconds(stages), lambda: Blocks(blocks, 16))


@pytest.fixture(scope="session")
def served() -> Callable[..., Schedule]:
    return toy_schedule


@pytest.fixture
def timeline() -> Timeline:
    both = {name: toy_schedule(name) for name in ("vLLM v0", "Sarathi-Serve")}
    return Timeline(both, budget={"Sarathi-Serve": 32})


PROMPTS = (
    "You are a helpful assistant . Hello !",
    "You are a helpful assistant . What is paging ?",
    "You are a helpful assistant . What is a radix tree ?",
    "Translate : the cat sat",
    "You are a helpful assistant . Hello ! How are you ?",
    "Translate : the dog ran",
    "You are a helpful assistant . What is paging ? And why ?",
)


def toy_tree_history(
    texts: tuple[str, ...] = PROMPTS, capacity: int = 24, page_size: int = 1
) -> tuple[TreeHistory, dict[int, str]]:
    """A few texts, one after another, in a tree of ``capacity`` pages; the last two stay locked."""
    words: dict[str, int] = {}
    log = TreeRecorder(page_size)
    tree = PrefixTree(on_step=log)
    running: list = []
    for number, text in enumerate(texts):
        log.request = number
        tokens = [words.setdefault(f"{word} ", len(words) + 100) for word in text.split()]
        match = tree.match(tokens)
        tree.lock(match.node)
        tree.evict(tree.pages + len(tokens) - len(match.values) - capacity)
        whole = tree.insert(tokens, range(len(tokens)))
        tree.lock(whole.node)
        tree.unlock(match.node)
        running.append((number, whole.node))
        if len(running) > 2:
            log.request, node = running.pop(0)
            tree.unlock(node)
    return log.history(), {token: word for word, token in words.items()}


@pytest.fixture(scope="session")
def tree_history() -> Callable[..., tuple[TreeHistory, dict[int, str]]]:
    return toy_tree_history


@pytest.fixture
def radix_tree() -> RadixTree:
    return RadixTree(*toy_tree_history())


SYSTEM, EXAMPLES = list(range(16)), list(range(100, 112))
TEXTS = (
    *([*SYSTEM, *[20 + at] * 6] for at in range(3)),
    [*EXAMPLES, *[60] * 5],
    *([*SYSTEM, *EXAMPLES, *[70 + at] * 5] for at in range(3)),
    [*EXAMPLES, *[80] * 4],
    [*SYSTEM, *[20] * 6, *[5] * 4],
)


def toy_block_history(
    memory=None, texts: tuple[list[int], ...] = TEXTS, answer: int = 6, budget: int = 24
) -> BlockHistory:
    """A request every three iterations, served by vLLM v1 from a memory of 20 blocks of 4."""
    recorder = BlockRecorder(memory or PrefixBlocks(20, 4))
    scheduler = Scheduler(VllmV1(max_num_batched_tokens=budget, max_num_seqs=8), recorder)
    coming = [
        LiveRequest.of(Request(number, 0.0, len(text), answer, answer, tokens=tuple(text)))
        for number, text in enumerate(texts)
    ][::-1]
    iteration = 0
    while coming or not scheduler.idle:
        if coming and iteration % 3 == 0:
            scheduler.add(coming.pop())
        iteration += 1
        for one in scheduler.finish(scheduler.plan(0.0)):
            ended = one.known == one.prompt_tokens + answer - 1
            one.tokens.append(1000 + 50 * one.id + one.known)
            scheduler.wrote(one, ended=ended)
    return recorder.history()


@pytest.fixture(scope="session")
def block_history() -> Callable[..., BlockHistory]:
    return toy_block_history


@pytest.fixture
def block_map() -> BlockMap:
    return BlockMap(toy_block_history())


@pytest.fixture
def on_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_SITE", "1")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publish(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Put HTML on a page one folder deep, as a chapter is, beside `_static`; give its address."""
    folder = tmp_path / "site"
    (folder / "part").mkdir(parents=True)
    shutil.copytree(static_files(), folder / "_static" / "toolkit")
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def write(body: str, name: str = "page") -> str:
            html = PAGE.format(body=body)
            (folder / "part" / f"{name}.html").write_text(html, encoding="utf-8")
            return f"http://127.0.0.1:{server.server_port}/part/{name}.html"

        yield write
        server.shutdown()


@pytest.fixture
def visit(chromium) -> Iterator[Callable]:
    """Open a page; at the end nothing has gone wrong on it or been asked of another host."""
    contexts, complaints = [], []

    def open_page(url: str, *, width: int = 820, height: int = 1000, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else 0)
        host = url.split("/part/")[0]
        page.on("request", lambda asked: _same_host(asked.url, host, complaints))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _same_host(url: str, host: str, complaints: list[str]) -> None:
    if not url.startswith((host, "data:")):
        complaints.append(f"asked another host: {url}")


@pytest.fixture
def alive(visit: Callable, request: pytest.FixtureRequest) -> Callable:
    """Open a page and wait until its widget is drawn, with what the module's ``DRAWN`` selects."""

    def wait(url: str, **options):
        page = visit(url, **options)
        page.locator(f".tk-alive {request.module.DRAWN}").first.wait_for()
        return page

    return wait


@pytest.fixture
def opened(alive: Callable) -> Callable:
    """Open a page and go past the guess."""

    def skip(url: str, **options):
        page = alive(url, **options)
        button = page.get_by_role("button", name="Skip", exact=True)
        button.click()
        button.wait_for(state="hidden")
        return page

    return skip


@pytest.fixture
def replaced_picture(visit: Callable, alive: Callable) -> Callable[[str], str]:
    """The name of a page's widget, which has the picture's place, but not in print."""

    def named(url: str) -> str:
        assert visit(url, java_script_enabled=False).locator(".tk-picture svg").is_visible()
        page = alive(url)
        assert not page.locator(".tk-picture").is_visible()
        name = page.locator(".tk-widget").get_attribute("aria-label")
        page.emulate_media(media="print")
        assert page.locator(".tk-picture svg").is_visible()
        assert not page.locator(".tk-widget").is_visible()
        return name

    return named


@pytest.fixture
def label() -> Callable:
    """The text alternative of a widget's picture."""
    return lambda page: page.locator(".tk-widget [role=img]").get_attribute("aria-label")


@pytest.fixture
def boxes() -> Callable:
    """Left, top, right and bottom of every element, in CSS pixels."""

    def measure(page, selector: str):
        return page.locator(selector).evaluate_all(
            "nodes => nodes.map((node) => { const b = node.getBoundingClientRect();"
            " return [b.left, b.top, b.right, b.bottom]; })"
        )

    return measure


@pytest.fixture
def apart() -> Callable:
    """Require boxes to lie within a width, and none on another by more than some pixels."""

    def check(boxes: list[list[float]], width: float, *, across: float = 0, down: float = 1):
        for at, (left, top, right, bottom) in enumerate(boxes):
            assert 0 <= left < right <= width
            for other in boxes[:at]:
                beside = right <= other[0] + across or other[2] <= left + across
                assert beside or bottom <= other[1] + down or other[3] <= top + down

    return check


@pytest.fixture
def table() -> Callable:
    """What stands in the folded table of a page, row by row, its head first."""

    def read(page) -> list[list[str]]:
        page.get_by_text("The same data as a table").click()
        page.locator("details tbody tr").first.wait_for()
        return page.locator("details table").evaluate(
            "table => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
        )

    return read


@pytest.fixture
def looks() -> Callable:
    """How many looks a page has in the frames after an act, both in JavaScript with ``$``."""

    def count(page, act: str, look: str) -> int:
        return page.evaluate(
            f"""async () => {{
                const $ = (selector) => document.querySelector(selector);
                {act};
                const seen = new Set();
                for (let at = 0; at < 40; at++) {{
                    await new Promise(requestAnimationFrame);
                    seen.add({look});
                }}
                return seen.size;
            }}"""
        )

    return count


@pytest.fixture
def plays() -> Callable:
    """Play to a page's last step with a pause on the way, and from there anew."""

    def check(page, at: Callable[..., int], *, last: int, past: int = 0) -> None:
        page.clock.install()
        play = page.get_by_role("button", name="Play")
        play.click()
        page.clock.run_for(3000)
        page.get_by_role("button", name="Pause").click()
        paused = at(page)
        assert past < paused < last
        page.clock.run_for(3000)
        assert at(page) == paused
        play.click()
        page.clock.run_for(40_000)
        assert at(page) == last
        assert page.get_by_role("button", name="Forward").is_disabled()
        play.click()
        page.clock.run_for(2000)
        assert 0 < at(page) < last

    return check


@pytest.fixture
def value() -> Callable:
    """The big number under a label of a page's readout."""

    def read(page, label):
        return page.locator(
            f".tk-figures > div:has(.tk-label:text-is('{label}')) .tk-value"
        ).inner_text()

    return read


@pytest.fixture
def rgb() -> Callable[[str], str]:
    """A token's color, ``#rrggbb``, as the browser computes it."""

    def computed(color: str) -> str:
        return f"rgb({', '.join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))})"

    return computed


@pytest.fixture
def serious_faults() -> Callable:
    """What a page does that is serious for accessibility: the rules it breaks, and where."""
    from axe_playwright_python.sync_playwright import Axe

    def find(page):
        found = Axe().run(page).response["violations"]
        return [
            (fault["id"], [node["html"][:120] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]

    return find


@pytest.fixture
def lab_on(tmp_path: Path, jupyterlab: Callable) -> Callable:
    """Starts a JupyterLab on a folder with a notebook of these cells."""

    def start(*sources: str):
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        notebook = tmp_path / "t.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), notebook)
        launch = command(notebook, tmp_path, None, browser=False)
        settings = environment(course.root())
        settings.pop("TOOLKIT_SITE", None)
        return jupyterlab([*launch, "--LabApp.expose_app_in_browser=True"], settings)

    return start
