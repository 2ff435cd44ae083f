"""The model against transformers' own, with small random weights and texts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import transformers
from torch.nn import functional

from toolkit.models.llama import (
    Lens,
    Llama,
    LlamaConfig,
    RMSNorm,
    SwiGLU,
    lens,
    load,
    losses,
    perplexity,
    save_checkpoint,
    share_kv_heads,
)
from toolkit.models.llama.layers import Linear
from toolkit.models.positions import ntk_aware, rope

FP32_ROUNDING = {"rtol": 1e-4, "atol": 2e-5}  # a few hundred additions, in another order
KINDS = {
    "grouped": {},
    "multi-head": {"num_key_value_heads": 4},
    "multi-query": {"num_key_value_heads": 1},
    "untied": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 24},
    "another base": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
}


def peer(**changes: object) -> transformers.LlamaForCausalLM:
    """transformers' model; its numbers are larger than at its own start, so that all matter."""
    sizes = {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "rms_norm_eps": 1e-3,
        "bos_token_id": None,
        "eos_token_id": 5,
    }
    torch.manual_seed(7)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **changes})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, tuple[transformers.LlamaForCausalLM, Llama]]:
    """Their models of each kind, and ours of the files that they wrote."""
    made = {}
    for kind, changes in KINDS.items():
        theirs, folder = peer(**changes), tmp_path_factory.mktemp("theirs")
        theirs.save_pretrained(folder)
        made[kind] = theirs, load(folder)
    return made


@pytest.fixture
def pair(pairs) -> tuple[transformers.LlamaForCausalLM, Llama]:
    return pairs["grouped"]


def ids(batch: int, tokens: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(97, (batch, tokens), generator=generator)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(pairs, kind):
    theirs, ours = pairs[kind]
    text = ids(2, 23)
    with torch.no_grad():
        torch.testing.assert_close(ours(text), theirs(text).logits, **FP32_ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_what_is_saved(pairs, kind, tmp_path):
    _, ours = pairs[kind]
    save_checkpoint(ours, tmp_path / "ours")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours").eval()
    text = ids(1, 9)
    with torch.no_grad():
        torch.testing.assert_close(theirs(text).logits, ours(text), **FP32_ROUNDING)


def test_what_is_saved_is_loaded_to_the_last_bit(pair, tmp_path, smollm, monkeypatch):
    _, ours = pair
    monkeypatch.setattr(ours, "_tokenizer", smollm.tokenizer)
    monkeypatch.setattr(ours, "chat_template", "{{ messages }}")
    save_checkpoint(ours, tmp_path)
    again = load(tmp_path)
    assert again.config == ours.config
    assert again.chat_template == ours.chat_template
    assert again.tokenizer.encode("It's a test.") == smollm.tokenizer.encode("It's a test.")
    for (name, weight), (name_again, weight_again) in zip(
        ours.named_parameters(), again.named_parameters(), strict=True
    ):
        assert name == name_again
        assert torch.equal(weight, weight_again)
    monkeypatch.undo()
    save_checkpoint(ours, tmp_path)  # over the other: nothing of it is left
    again = load(tmp_path)
    assert again.chat_template is None
    assert not again.has_tokenizer


def test_gradients_are_those_of_transformers(pairs):
    theirs, ours = pairs["untied"]
    text = ids(2, 12)
    for model, logits in ((theirs, lambda x: theirs(x).logits), (ours, ours)):
        model.zero_grad()
        functional.cross_entropy(
            logits(text)[:, :-1].flatten(0, 1), text[:, 1:].flatten()
        ).backward()
    layer = theirs.model.layers[1]
    gate_up = torch.cat([layer.mlp.gate_proj.weight.grad, layer.mlp.up_proj.weight.grad])
    for found, expected in [
        (ours.embed.weight.grad, theirs.model.embed_tokens.weight.grad),
        (ours.output.weight.grad, theirs.lm_head.weight.grad),
        (ours.norm.weight.grad, theirs.model.norm.weight.grad),
        (ours.layers[1].attention_norm.weight.grad, layer.input_layernorm.weight.grad),
        (ours.layers[1].attention.out.weight.grad, layer.self_attn.o_proj.weight.grad),
        (ours.layers[1].ffn.gate_up.weight.grad, gate_up),
        (ours.layers[1].attention.qkv.weight.grad[-16:], layer.self_attn.v_proj.weight.grad),
    ]:
        torch.testing.assert_close(found, expected, **FP32_ROUNDING)


def test_weights_are_those_of_the_seed_and_no_other_dice_are_touched():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (Llama(LlamaConfig.tiny(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
        assert weight.dim() == 1 or not torch.equal(weight, other.state_dict()[name])


def test_a_tiny_model_learns_a_text_from_nothing():
    model = Llama(LlamaConfig.tiny())
    text = torch.tensor([list(b"the quick brown fox jumps over the lazy dog. " * 2)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = None
    for _ in range(60):
        loss = functional.cross_entropy(model(text)[0, :-1], text[0, 1:])
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first > 5.0  # log(256) is 5.5
    assert loss.item() < 0.2
    again = model.generate([list(b"the quick br")], 16).run()[0]
    assert bytes(again) == b"own fox jumps ov"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (1, 1), (2, 1), (3,), (1, 8), (4, 2), (9,), (2, 40)])
def test_few_rows_and_many_have_the_same_product(shape, dtype):
    random = torch.Generator().manual_seed(5)
    layer = Linear(24, 40).to(dtype)
    x = torch.randn(*shape, 24, generator=random).to(dtype).requires_grad_()
    found, expected = layer(x), functional.linear(x, layer.weight)
    close = {"rtol": 1e-2, "atol": 1e-2} if dtype == torch.bfloat16 else FP32_ROUNDING
    torch.testing.assert_close(found, expected, **close)
    wanted = torch.randn(found.shape, generator=random).to(dtype)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, layer.weight), wanted),
        torch.autograd.grad(expected, (x, layer.weight), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **close)


def test_rms_norm_and_swiglu_are_their_formulas():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 5, 32, generator=generator) * 10
    norm = RMSNorm(32, 0.1)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        torch.testing.assert_close(norm(x), functional.rms_norm(x, (32,), norm.weight, 0.1))
        assert norm(x.bfloat16()).dtype == torch.float32  # a gain in fp32 is not rounded
        layer = SwiGLU(replace(LlamaConfig.tiny(), width=32, ffn_width=6))
        gate, up = layer.gate_up.weight[:6], layer.gate_up.weight[6:]
        expected = (torch.nn.SiLU()(x @ gate.T) * (x @ up.T)) @ layer.down.weight.T
        torch.testing.assert_close(layer(x), expected)


# What was read before


@pytest.mark.parametrize("chunks", [[1] * 9, [9], [4, 1, 4], [1, 8], [8, 1]])
def test_a_text_read_in_chunks_gives_the_same_logits(pair, chunks):
    _, ours = pair
    text = ids(2, 9)
    cache = ours.cache(2, 9)
    with torch.no_grad():
        found = torch.cat([ours(part, cache) for part in text.split(chunks, 1)], 1)
        torch.testing.assert_close(found, ours(text), **FP32_ROUNDING)
    assert cache.lengths == [9, 9]


@pytest.mark.parametrize("lengths", [(3, 7, 5), (7, 7, 7), (1, 7, 2)])
def test_texts_of_unequal_lengths_are_read_as_if_alone(pair, lengths):
    _, ours = pair
    padded, more = ids(3, 7), ids(3, 4, seed=1)
    cache = ours.cache(3, 11)
    with torch.no_grad():
        first = ours(padded, cache)
        cache.keep(lengths)
        rest = torch.cat([ours(more[:, :2], cache), ours(more[:, 2:3], cache)], 1)
        last = ours(more[:, 3:], cache)
        for row, length in enumerate(lengths):
            alone = torch.cat([padded[row, :length], more[row]])[None]
            expected = ours(alone)[0]
            torch.testing.assert_close(first[row, :length], expected[:length], **FP32_ROUNDING)
            found = torch.cat([rest[row], last[row]])
            torch.testing.assert_close(found, expected[length:], **FP32_ROUNDING)


def test_a_cache_forgets_what_is_not_kept(pair):
    _, ours = pair
    text, other = ids(1, 8), ids(1, 3, seed=2)
    cache = ours.cache(1, 8)
    with torch.no_grad():
        ours(text, cache)
        cache.keep([5])
        again = ours(other, cache)
        whole = ours(torch.cat([text[:, :5], other], 1))
    torch.testing.assert_close(again, whole[:, 5:], **FP32_ROUNDING)


def test_a_cache_takes_what_its_shape_says(pair):
    _, ours = pair
    cache = ours.cache(3, 20)
    assert cache.nbytes == 2 * 3 * 3 * 2 * 20 * 8 * 4  # k and v, layers, texts, heads, tokens, dim
    with torch.no_grad():
        with pytest.raises(ValueError, match="holds 20 tokens a text, and this would make 21"):
            ours(ids(3, 21), cache)
        with pytest.raises(ValueError, match="the cache is for 3 texts, got 2"):
            ours(ids(2, 4), cache)
    with pytest.raises(ValueError, match="are kept without their gradients"):
        ours(ids(3, 4), cache)
    with pytest.raises(ValueError, match="text 1 has 0 tokens here, and not 1 to keep"):
        cache.keep([0, 1, 0])
    with pytest.raises(ValueError, match="the cache is for 3 texts, got 2"):
        cache.keep([0, 0])
    assert cache.lengths == [0, 0, 0]
    with pytest.raises(ValueError, match="65 tokens are more than the model's context of 64"):
        ours.cache(1, 65)


def test_another_cache_may_take_its_seat(pair):
    _, ours = pair

    class Everything:
        """Keeps a list, and computes attention by its formula."""

        def __init__(self) -> None:
            self.kept = {}
            self.length = 0

        def reserve(self, batch: int, tokens: int) -> torch.Tensor:
            self.length += tokens
            return torch.arange(self.length - tokens, self.length)[None]

        def attend(self, layer, queries, keys, values):
            old = self.kept.get(layer, (keys[:, :, :0], values[:, :, :0]))
            k, v = (torch.cat(both, 2) for both in zip(old, (keys, values), strict=True))
            self.kept[layer] = k, v
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
            scores = queries @ k.mT / queries.shape[-1] ** 0.5
            behind = torch.ones(scores.shape[-2:]).tril(k.shape[2] - queries.shape[2]) == 0
            return scores.masked_fill(behind, -torch.inf).softmax(-1) @ v

    text, cache = ids(2, 6), Everything()
    with torch.no_grad():
        found = torch.cat([ours(part, cache) for part in text.split([4, 2], 1)], 1)
        torch.testing.assert_close(found, ours(text), **FP32_ROUNDING)


def test_stretching_turns_by_other_angles_in_a_longer_context(pairs, tmp_path):
    ours = deepcopy(pairs["another base"][1])
    theirs = peer(
        rope_parameters={"rope_type": "default", "rope_theta": 500.0 * 2 ** (8 / 6)},
        max_position_embeddings=128,
    )
    text = ids(1, 100)
    with pytest.raises(ValueError, match="100 tokens are more than the model's context of 64"):
        ours(text)
    ours.stretch(ntk_aware(8, 500.0, 2.0), 128)
    with torch.no_grad():
        torch.testing.assert_close(ours(text), theirs(text).logits, **FP32_ROUNDING)
    with pytest.raises(ValueError, match="turns by other angles than its base gives"):
        save_checkpoint(ours, tmp_path)
    ours.stretch(rope(8, 500.0), 64)
    save_checkpoint(ours, tmp_path)


# What is asked of a model


def test_losses_are_those_of_transformers(pair):
    theirs, ours = pair
    text = ids(1, 30)
    with torch.no_grad():
        logits = theirs(text).logits[0, :-1]
    expected = functional.cross_entropy(logits, text[0, 1:], reduction="none")
    for chunk, start in [(512, 0), (7, 0), (1, 0), (7, 7), (7, 12), (64, 28)]:
        found = losses(ours, text[0].tolist(), chunk=chunk, start=start)
        torch.testing.assert_close(found, expected[start:], **FP32_ROUNDING)
    found = losses(ours, text[0].tolist())
    assert not found.requires_grad
    (found * torch.ones(29, requires_grad=True)).sum().backward()  # others may learn from them
    assert perplexity(ours, text[0].tolist()) == pytest.approx(
        float(expected.mean().exp()), rel=1e-4
    )
    with pytest.raises(ValueError, match="1 tokens have no losses from 0 on"):
        losses(ours, [3])


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_averaged_heads_are_those_of_averaged_weights(pairs, kv_heads):
    theirs, ours = pairs["multi-head"]
    fewer = peer(num_key_value_heads=kv_heads)
    state = theirs.state_dict()
    for name in list(state):
        if "k_proj" in name or "v_proj" in name:
            state[name] = state[name].view(kv_heads, 4 // kv_heads, 8, 32).mean(1).reshape(-1, 32)
    fewer.load_state_dict(state)
    text = ids(2, 11)
    with torch.no_grad():
        shared = share_kv_heads(ours, kv_heads)
        torch.testing.assert_close(shared(text), fewer(text).logits, **FP32_ROUNDING)
    assert ours.config.kv_heads == 4


def test_the_lens_is_the_norm_and_the_embedding_at_every_depth(pair, smollm, monkeypatch):
    theirs, ours = pair
    text = "".join(map(chr, range(97, 107)))
    tokens = [token % 97 for token in smollm.tokenizer.encode(text)]

    class Cut:
        """Tokens that are few enough for the model."""

        encode = staticmethod(lambda text: tokens)
        decode = staticmethod(lambda ids: f"<{ids[0]}>")

    monkeypatch.setattr(ours, "_tokenizer", Cut())
    seen = lens(ours, text, k=3)
    with torch.no_grad():
        out = theirs(torch.tensor([tokens]), output_hidden_states=True)
        *depths, last = out.hidden_states  # the last is normed already
        heads = [theirs.lm_head(theirs.model.norm(h)) for h in depths] + [theirs.lm_head(last)]
    probs = torch.stack([h[0].softmax(-1) for h in heads])
    best = probs.topk(3)
    assert isinstance(seen, Lens)
    assert seen.tokens == tuple(f"<{token}>" for token in tokens)
    assert [[[seen.vocabulary[i] for i in c] for c in d] for d in seen.top] == [
        [[f"<{i}>" for i in c] for c in d] for d in best.indices.tolist()
    ]
    torch.testing.assert_close(torch.tensor(seen.probabilities), best.values, **FP32_ROUNDING)
    final = probs[-1].argmax(-1)
    for depth in range(4):
        for place, token in enumerate(final):
            p = probs[depth, place]
            assert seen.said[depth, place] == pytest.approx(p[token].item(), abs=1e-5)
            assert seen.ranks[depth, place] == (p > p[token]).sum()
    with pytest.raises(ValueError, match="k must be 1 to 97, got 0"):
        lens(ours, text, k=0)


# What is refused


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (torch.tensor([[3, 97]]), "token 97 is not in the vocabulary: ids are 0 to 96"),
        (torch.tensor([[-1, 3]]), "token -1 is not in the vocabulary"),
        (
            torch.zeros(1, 65, dtype=torch.int64),
            "65 tokens are more than the model's context of 64",
        ),
        (torch.zeros(1, 0, dtype=torch.int64), "at least one token"),
        (torch.zeros(4, dtype=torch.int64), r"int64 tensor of \[batch, tokens\], got torch.int64"),
        (torch.zeros(1, 4), "got torch.float32"),
    ],
)
def test_what_is_no_text_is_refused(pair, text, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        pair[1](text)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kv_heads": 3}, "kv_heads must divide 4 heads, got 3"),
        ({"head_dim": 15}, "head_dim must be even"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"layers": 2.0}, "layers must be a whole number, got 2.0"),
        ({"norm_eps": -1.0}, "norm_eps must be over 0"),
        ({"eos": (256,)}, "there is no token 256: ids are 0 to 255"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        replace(LlamaConfig.tiny(), **change)
