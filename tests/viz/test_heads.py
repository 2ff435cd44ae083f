"""What `Heads` takes, refuses, says and draws."""

from __future__ import annotations

import json

import matplotlib
import pytest
import traitlets
from matplotlib.colors import to_hex

from toolkit.models.attention import MODELS, AttentionShape
from toolkit.viz import COLORS, Heads, static_files, style
from toolkit.viz.text import GAP

NAMES = [model.name for model in MODELS]
PER_TOKEN = {
    "Llama-2-7B": 524_288,
    "Llama-3-8B": 131_072,
    "Llama-3-70B": 327_680,
    "Qwen2.5-72B": 327_680,
    "Llama-3-405B": 516_096,
    "DeepSeek-V2": 69_120,
    "DeepSeek-V3": 70_272,
}
"""Published, in bf16."""


@pytest.fixture
def heads():
    return Heads(MODELS, "Llama-3-70B")


def drawn(widget):
    """The figure, its upper axes and its lower ones."""
    with matplotlib.rc_context(style()):
        figure = widget.picture()
    return figure, *figure.axes


@pytest.mark.parametrize(("name", "expected"), PER_TOKEN.items())
def test_each_model_takes_what_was_published(name, expected):
    widget = Heads(MODELS, name)
    assert widget.shape == next(
        AttentionShape(m.name, m.layers, m.heads, m.kv_heads, m.head_dim, m.latent, m.rope_dim)
        for m in MODELS
        if m.name == name
    )
    assert widget.bytes() == 32_768 * expected
    widget.context = 2**20
    assert widget.bytes() == 2**20 * expected


def test_without_a_name_the_first_model_is_shown():
    assert Heads(MODELS[2:]).shape.name == "Llama-2-7B"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            {"kv_heads": 8},
            "64 query heads share 8 KV heads, 8 to each (GQA). One token takes 327,680 bytes of "
            "cache, 8 times less than with nothing shared. 32,768 tokens take 10.7 GB, and 80 GB "
            "hold 7 such conversations.",
        ),
        (
            {"kv_heads": 64},
            "64 query heads, each with a KV head of its own (MHA). One token takes 2,621,440 "
            "bytes of cache. 32,768 tokens take 85.9 GB, and 80 GB hold 0 such conversations.",
        ),
        (
            {"kv_heads": 1, "context": 1024},
            "64 query heads share one KV head (MQA). One token takes 40,960 bytes of cache, "
            "64 times less than with nothing shared. 1,024 tokens take 41.9 MB, and 80 GB hold "
            "1,907 such conversations.",
        ),
        (
            {"heads": 4, "kv_heads": 4, "latent": 2048},
            "4 query heads share one latent of 2,048 numbers and one rotated key of 64 (MLA). One "
            "token takes 337,920 bytes of cache, 2.06 times more than with nothing shared. "
            "32,768 tokens take 11.1 GB, and 80 GB hold 7 such conversations.",
        ),
        (
            {"latent": 512, "context": 2**20},
            "64 query heads share one latent of 512 numbers and one rotated key of 64 (MLA). One "
            "token takes 92,160 bytes of cache, 28.4 times less than with nothing shared. "
            "1,048,576 tokens take 96.6 GB, and 80 GB hold 0 such conversations.",
        ),
    ],
)
def test_the_summary_says_who_shares_and_what_it_takes(heads, choice, expected):
    for name, value in choice.items():
        setattr(heads, name, value)
    assert heads.summary().replace(GAP, " ") == f"Llama-3-70B: {expected}"


def test_a_latent_comes_and_goes_and_the_kv_heads_stay(heads):
    assert heads.shape.kind == "GQA"
    heads.latent = 1024
    assert (heads.shape.kind, heads.shape.kv_heads, heads.shape.rope_dim) == ("MLA", 64, 64)
    heads.latent = 0
    assert (heads.shape.kind, heads.shape.kv_heads, heads.shape.rope_dim) == ("GQA", 8, 0)


def test_kv_heads_that_no_longer_divide_give_way_to_the_next_that_do(heads):
    heads.heads = 12
    assert heads.kv_heads == 6
    heads.heads = 128
    assert heads.kv_heads == 4
    heads.heads = 71
    assert heads.kv_heads == 1


@pytest.mark.parametrize(
    ("trait", "value", "sentence"),
    [
        ("preset", 9, "preset must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, got 9"),
        ("preset", -1, "preset must be one of 0, .*, got -1"),
        ("heads", 1, r"heads must be one of 2, 4, 8, 9, 12, .*, 71, 96, 128, got 1$"),
        ("heads", 256, "heads must be one of .*, got 256"),
        ("kv_heads", 3, "kv_heads must be one of 1, 2, 4, 8, 16, 32, 64, got 3"),
        ("kv_heads", 0, "kv_heads must be one of 1, .*, got 0"),
        ("latent", 500, "latent must be one of 0, 64, 128, 256, 512, 1024, 2048, got 500"),
        ("context", 1000, "context must be one of 1024, .*, 1048576, got 1000"),
    ],
)
def test_a_state_that_can_not_be_is_refused(heads, trait, value, sentence):
    before = getattr(heads, trait)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(heads, trait, value)
    assert getattr(heads, trait) == before


def test_models_that_can_not_be_shown_are_refused():
    with pytest.raises(ValueError, match="there are no models"):
        Heads([])
    with pytest.raises(ValueError, match="a name of its own, and two are 'Falcon-7B'"):
        Heads([*MODELS, MODELS[0]])
    with pytest.raises(ValueError, match="Single has a single query head"):
        Heads([AttentionShape("Single", 1, 1, 1, 64)])
    with pytest.raises(ValueError, match=r"first must be one of Falcon-7B, .*, got 'GPT-2'"):
        Heads(MODELS, "GPT-2")


def test_where_nothing_is_shared_there_is_nothing_to_guess():
    guessed = {model.name: Heads(MODELS, model.name).revealed for model in MODELS}
    assert [name for name, revealed in guessed.items() if revealed] == ["Llama-2-7B"]


def test_a_model_without_mla_gets_the_widths_of_deepseek_v2():
    record = json.loads(json.dumps(Heads(MODELS).record))
    expected = [(256, 32), (256, 32), *[(512, 64)] * 7]
    assert list(zip(record["own_latent"], record["rope_dim"], strict=True)) == expected
    odd = Heads([AttentionShape("Odd", 2, 6, 3, 80, source="a paper")])
    assert odd.record["own_latent"] == [320]
    assert {6, 64} <= set(odd.record["heads_choices"])
    assert odd.record["latent_choices"] == [64, 128, 256, 320, 512, 1024, 2048]
    odd.latent = 320
    assert (odd.shape.rope_dim, odd.bytes()) == (40, 2 * (320 + 40) * 2 * 32_768)
    assert odd.record["sources"] == ["a paper"]


@pytest.mark.parametrize("name", ["Llama-3-70B", "Falcon-7B", "Llama-2-7B", "SmolLM2-135M"])
def test_the_picture_joins_each_query_head_to_what_it_reads(name):
    shape = Heads(MODELS, name).shape
    _, upper, _ = drawn(Heads(MODELS, name))
    cells = [(to_hex(cell.get_facecolor()), cell) for cell in upper.patches]
    queries = [cell for color, cell in cells if color == COLORS["prefill"].lower()]
    kept = [cell for color, cell in cells if color == COLORS["hit"].lower()]
    assert (len(queries), len(kept)) == (shape.heads, 2 * shape.kv_heads)
    assert {cell.get_width() for cell in queries} == {cell.get_width() for cell in kept}
    middles = sorted({cell.get_x() + cell.get_width() / 2 for cell in kept})
    (lines,) = upper.collections
    each = shape.heads // shape.kv_heads
    for head, ((start, _), (end, _)) in enumerate(lines.get_segments()):
        assert start == pytest.approx(head + 0.5)
        assert end == pytest.approx(middles[head // each])


def test_the_picture_has_the_latent_to_scale():
    _, upper, _ = drawn(Heads(MODELS, "DeepSeek-V3"))
    latent, rotated = upper.patches[-2:]
    assert latent.get_width() == pytest.approx(512 / (2 * 128))
    assert rotated.get_width() == pytest.approx(64 / (2 * 128))
    assert rotated.get_hatch()
    assert rotated.get_x() == latent.get_x() + latent.get_width()
    written = [text.get_text() for text in upper.texts]
    assert {"latent 512", "rotated key 64"} <= set(written)


def test_the_picture_marks_every_model_at_its_bytes(heads):
    _, _, lower = drawn(heads)
    labels = [label.get_text().replace(GAP, " ") for label in lower.get_yticklabels()]
    assert labels[0] == "your choice  328 kB"
    assert [label.split("  ")[0] for label in labels[1:]] == NAMES
    assert lower.get_xscale() == "log"
    marks = [line for line in lower.lines if line.get_marker() in "soD^" and len(line.get_xdata())]
    at = {int(line.get_ydata()[0]): line for line in marks}  # the last of a row is its own
    for name, expected in PER_TOKEN.items():
        assert at[1 + NAMES.index(name)].get_xdata()[0] == expected
    assert at[0].get_xdata()[0] == PER_TOKEN["Llama-3-70B"]
    kinds = [at[1 + row].get_marker() for row in range(len(MODELS))]
    assert kinds == ["^", "o", "s", *"oooo", "D", "D"]
    opened = [line.get_xdata()[0] for line in marks if line.get_markerfacecolor() == COLORS["page"]]
    assert opened[1 + NAMES.index("DeepSeek-V3")] == 61 * 2 * 128 * 128 * 2


def test_nothing_of_the_picture_overlaps(heads):
    heads.latent = 2048
    figure, upper, lower = drawn(heads)
    figure.draw_without_rendering()
    texts = [*upper.texts, *lower.texts, *lower.get_yticklabels()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    for at, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert not any(one.overlaps(other) for other in boxes[:at])


def test_state_and_script_stay_small(heads):
    assert len(heads._json()) < 10_000
    names = ("heads.js", "widget.js", "site.js")
    assert sum((static_files() / name).stat().st_size for name in names) <= 40_000
