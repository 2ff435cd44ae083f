"""What a batch costs: counted token by token, and fitted to steps whose cost is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.kernels.roofline import CARDS
from toolkit.models.attention import decoding_step
from toolkit.serving.batching import (
    MODELS,
    Batch,
    Calibrated,
    Fixed,
    LiveRequest,
    Roofline,
    Trace,
    VllmV1,
    Work,
    simulate,
    work_of,
)
from toolkit.serving.batching.cost import KNOTS
from toolkit.serving.batching.roofline import MEMORY

A100 = CARDS["A100 80GB SXM"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 17), st.integers(1, 9)),
        max_size=6,
    ),
    st.integers(0, 5),
)
def test_work_counted_pair_by_pair(requests, padding):
    running, chunks = {}, {}
    prefill = decode = context = pairs = 0
    for number, (prompt, written, computed, tokens) in enumerate(requests):
        known = prompt + written
        computed = min(computed, known - 1)
        tokens = min(tokens, known - computed)
        running[number] = LiveRequest(number, 0.0, prompt, 9, known=known, computed=computed)
        chunks[number] = tokens
        for query in range(computed, computed + tokens):
            pairs += sum(1 for key in range(known) if key <= query)
        context += computed + tokens
        if tokens == 1 and computed >= prompt:
            decode += 1
        else:
            prefill += tokens
    work = work_of(Batch(chunks, padding=padding), running)
    assert work == (prefill, decode, padding, len(chunks), context, pairs)
    assert work.tokens == sum(chunks.values()) + padding


def decode_of(batch, context):
    return Work(0, batch, 0, batch, batch * context, batch * context)


def prefill_of(tokens):
    return Work(tokens, 0, 0, 1, tokens, tokens * (tokens + 1) // 2)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("SmolLM2-135M", 0.1345),
        ("Llama-2-7B", 6.738),
        ("Mistral-7B", 7.242),
        ("OPT-13B", 12.85),
        ("Yi-34B", 34.39),
        ("Llama-2-70B", 68.98),
        ("Falcon-180B", 179.5),
    ],
)
def test_sizes_add_up_to_the_published_parameters(name, billions):
    # norms, biases and learned positions are not counted
    assert MODELS[name].weights / 1e9 == pytest.approx(billions, rel=2e-3)


def test_bytes_of_the_cache_are_the_published_ones():
    assert MODELS["Llama-2-7B"].kv_bytes == 524_288
    assert MODELS["Llama-2-70B"].kv_bytes == 327_680


def test_flops_of_attention_are_those_of_decoding_steps():
    model = MODELS["Mistral-7B"]
    cost = Roofline(model, A100)
    for context in (1, 100, 5000):
        step = decoding_step(model.attention, context)
        work = decode_of(1, context)
        linear = 2 * (model.layer_weights + model.head_weights)
        assert cost.flops(work) == linear + step.flops
        # the cache is read, and a token is written
        assert cost.bytes(work) == linear + step.bytes_read + model.kv_bytes
    # a prompt attends as its tokens would one by one
    steps = sum(decoding_step(model.attention, n).flops for n in range(1, 301))
    assert cost.flops(prefill_of(300)) == pytest.approx(
        2 * (300 * model.layer_weights + model.head_weights) + steps
    )


def test_decoding_is_bound_by_memory_and_prefill_by_compute():
    cost = Roofline(MODELS["Llama-2-7B"], A100)
    one = decode_of(1, 100)
    assert cost.seconds(one) == pytest.approx(cost.bytes(one) / A100.bandwidth)
    many = prefill_of(4096)
    assert cost.seconds(many) == pytest.approx(cost.flops(many) / A100.peaks["16-bit"])
    # 13.2 GB at 2 TB/s; 6.6 billion weights for 4,096 tokens at 312 TFLOP/s, and attention
    assert cost.seconds(one) == pytest.approx(6.5e-3, rel=0.02)
    assert cost.seconds(many) == pytest.approx(0.185, rel=0.02)


def test_prefills_ride_along_with_decodes():
    """The two together take less than one after the other."""
    cost = Roofline(MODELS["Mistral-7B"], A100)
    decode, prefill = decode_of(64, 1000), prefill_of(128)
    both = Work(*map(sum, zip(decode, prefill, strict=True)))
    assert cost.seconds(both) < 0.8 * (cost.seconds(decode) + cost.seconds(prefill))


def test_cards_that_share_layers_send_each_other_their_sums():
    model, work = MODELS["Yi-34B"], prefill_of(1000)
    one, four = Roofline(model, A100), Roofline(model, A100, tensor=4)
    # in a ring of 4 each sends 2 * 3 / 4 of the state, twice a layer
    sent = 2 * model.attention.layers * 1.5 * 1000 * model.width * 2
    assert four.seconds(work) == pytest.approx(one.seconds(work) / 4 + sent / 300e9)
    assert Roofline(model, A100, tensor=4, link=600e9).seconds(work) == pytest.approx(
        one.seconds(work) / 4 + sent / 600e9
    )


def test_a_stage_has_its_share_of_the_layers_and_sends_states_on():
    model, work = MODELS["Yi-34B"], prefill_of(1000)
    three = Roofline(model, A100, stages=3)
    sent = 1000 * model.width * 2
    whole = Roofline(model, A100).seconds(work)
    assert three.seconds(work) == pytest.approx(whole / 3 + sent / 300e9)


def test_the_cache_has_what_the_weights_leave():
    cost = Roofline(MODELS["Llama-2-7B"], A100)
    memory = cost.memory()
    left = 0.9 * 80e9 - 2 * 6.738e9
    assert memory.blocks * memory.block_size == pytest.approx(left / 524_288, rel=1e-3)
    assert cost.memory(64).block_size == 64
    assert cost.memory() is not memory
    # each of two stages' batches has half of what both cards hold
    two = Roofline(MODELS["Llama-2-7B"], A100, stages=2).memory()
    assert two.blocks == pytest.approx((memory.blocks + 72e9 / 524_288 / 16) / 2, rel=0.05)
    message = r"Falcon-180B has 359 GB of weights, and 4 x A100 80GB SXM hold 288 GB: take more"
    with pytest.raises(ValueError, match=message):
        Roofline(MODELS["Falcon-180B"], A100, tensor=4).memory()


def test_a_stage_is_of_whole_layers():
    with pytest.raises(ValueError, match="stages must divide the 32 layers of Llama-2-7B, got 7"):
        Roofline(MODELS["Llama-2-7B"], A100, stages=7)


def test_the_memory_of_another_card_is_not_guessed():
    card = replace(A100, name="Mine")
    with pytest.raises(ValueError, match="the memory of 'Mine' is not known, only that of H200"):
        Roofline(MODELS["Llama-2-7B"], card).memory()
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        Roofline(MODELS["Llama-2-7B"], A100).memory(0)


def test_every_card_has_a_memory():
    assert MEMORY.keys() == CARDS.keys()


@pytest.mark.parametrize("wrong", [{"tensor": 0}, {"stages": 0}, {"link": 0.0}])
def test_a_machine_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .* got 0"):
        Roofline(MODELS["Mistral-7B"], A100, **wrong)


def steps_of(seed):
    """Batches of many kinds."""
    trace = Trace.synthetic(60, 4.0, prompts=Fixed(700), seed=seed)
    schedule = simulate(trace, VllmV1(512), Roofline(MODELS["Mistral-7B"], A100))
    return [Work(*map(int, row)) for row in zip(*schedule.work, strict=True)][::20]


def test_a_fit_finds_the_weights_that_made_the_times():
    token = (3e-5, 0.0, 2e-5, 9e-5, 1e-5, 4e-5, 3e-5, 2e-5, 1e-5)
    true = Calibrated(4e-3, token, sequence=3e-5, context=0.0, pair=4e-9)
    works = steps_of(0) + [decode_of(batch, 100 * batch) for batch in range(1, 9)]
    fit = Calibrated.fit(works, [true.seconds(work) for work in works])
    for work in works + steps_of(1):
        assert fit.seconds(work) == pytest.approx(true.seconds(work), rel=1e-3)
    assert fit.stages == 1


def test_tokens_cost_what_their_stretch_does():
    cost = Calibrated(1.0, (10.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5), 0.0, 0.0, 0.0)
    for tokens, seconds in {1: 1, 2: 11, 3: 11, 4: 11, 6: 13, 8: 15, 256: 15, 1000: 387}.items():
        assert cost.seconds(Work(tokens, 0, 0, 1, 9, 9)) == seconds


def test_a_fit_of_noisy_times_is_never_negative_and_predicts_others():
    true = Calibrated(4e-3, (2e-5,) * len(KNOTS), sequence=0.0, context=1e-8, pair=0.0)
    works, others = steps_of(1), steps_of(2)
    noise = np.random.default_rng(0).normal(1, 0.1, len(works))
    fit = Calibrated.fit(works, [true.seconds(w) * n for w, n in zip(works, noise, strict=True)])
    weights = [fit.step, *fit.token, fit.sequence, fit.context, fit.pair]
    assert min(weights) >= 0
    predicted = sum(fit.seconds(work) for work in others)
    assert predicted == pytest.approx(sum(true.seconds(work) for work in others), rel=0.05)


def test_a_fit_minds_how_wrong_it_is_of_a_step_s_own_time():
    # a straight line can't have all three; weighted by the steps' own times, its errors add to 0
    works = [Work(256 + 100 * hundreds, 0, 0, 0, 0, 0) for hundreds in range(3)]
    times = np.array([1.0, 1.5, 2.5])
    fit = Calibrated.fit(works, times)
    expected = np.array([fit.seconds(work) for work in works])
    errors = (times - expected) / expected**2
    assert errors.sum() == pytest.approx(0, abs=1e-2)
    assert errors @ [0, 1, 2] == pytest.approx(0, abs=1e-2)
    # not too short on average
    work = prefill_of(3)
    assert Calibrated.fit([work, work], [1.0, 2.0]).seconds(work) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("works", "seconds", "message"),
    [
        ([], [], "a time for each step, and one at least: got 0 times for 0 steps"),
        ([prefill_of(3)], [0.1, 0.2], "got 2 times for 1 steps"),
        ([prefill_of(3)], [0.0], r"each step must take some time, got .*0.0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(works, seconds, message):
    with pytest.raises(ValueError, match=message):
        Calibrated.fit(works, seconds)
