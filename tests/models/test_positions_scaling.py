"""Longer contexts: transformers' frequencies, closed forms, stale keys, dials and digits."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from toolkit.models.positions import (
    dials,
    digits,
    dynamic_ntk,
    interpolation,
    ntk_aware,
    outside,
    rope,
    rotate,
    stale_scores,
    turns,
    yarn,
)

# transformers' exponents are in float32: base^x is then off by about x ln(base) 2^-24 of itself
FP32_EXPONENT = 2e-6
FP64_ROUNDING = 1e-12
MODELS = [(64, 10_000.0, 2048), (64, 100_000.0, 8192), (128, 500_000.0, 8192), (80, 1e6, 32768)]

unhurried = settings(deadline=None, max_examples=60)


def theirs(kind, head_dim, base, trained, length=None, **settings):
    config = LlamaConfig(
        hidden_size=4 * head_dim,
        num_attention_heads=4,
        head_dim=head_dim,
        max_position_embeddings=trained,
        rope_parameters={"rope_type": kind, "rope_theta": base, **settings},
    )
    if kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    return ROPE_INIT_FUNCTIONS[kind](config, seq_len=length)


def agrees(found, expected):
    frequencies, temperature = expected
    assert found.frequencies.dtype == torch.float64
    torch.testing.assert_close(found.frequencies, frequencies.double(), atol=0, rtol=FP32_EXPONENT)
    assert found.temperature == pytest.approx(temperature, rel=FP64_ROUNDING)


# As transformers has it


@pytest.mark.parametrize(("head_dim", "base", "trained"), MODELS)
def test_as_trained_it_is_transformers(head_dim, base, trained):
    agrees(rope(head_dim, base), theirs("default", head_dim, base, trained))


@pytest.mark.parametrize(("head_dim", "base", "trained"), MODELS)
@pytest.mark.parametrize("factor", [1.0, 2.0, 3.7, 32.0])
def test_interpolation_is_transformers(head_dim, base, trained, factor):
    expected = theirs("linear", head_dim, base, trained, factor=factor)
    agrees(interpolation(head_dim, base, factor), expected)


@pytest.mark.parametrize(("head_dim", "base", "trained"), MODELS)
@pytest.mark.parametrize("factor", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("times", [0.1, 1.0, 1.001, 1.5, 7.9])
def test_dynamic_ntk_is_transformers(head_dim, base, trained, factor, times):
    length = int(times * trained)
    expected = theirs("dynamic", head_dim, base, trained, length, factor=factor)
    agrees(dynamic_ntk(head_dim, base, trained, length, factor), expected)


@pytest.mark.parametrize(("head_dim", "base", "trained"), [*MODELS, (4, 100.0, 300)])
@pytest.mark.parametrize("factor", [1.0, 2.0, 3.7, 32.0])
@pytest.mark.parametrize(("fast", "slow"), [(32, 1), (16, 2), (1.5, 0.5), (32, 31)])
def test_yarn_is_transformers(head_dim, base, trained, factor, fast, slow):
    expected = theirs(
        "yarn",
        head_dim,
        base,
        int(trained * factor),
        factor=factor,
        original_max_position_embeddings=trained,
        beta_fast=fast,
        beta_slow=slow,
    )
    agrees(yarn(head_dim, base, trained, factor, fast, slow), expected)


def test_yarn_is_transformers_where_the_ramp_is_a_step():
    """Both of its ends are cut to the first pair."""
    expected = theirs(
        "yarn", 64, 10_000.0, 12, factor=2.0, original_max_position_embeddings=6,
        beta_fast=0.97, beta_slow=0.96,
    )  # fmt: skip
    agrees(yarn(64, 10_000.0, 6, 2.0, 0.97, 0.96), expected)


def test_yarns_own_cut_offs_are_32_turns_and_1():
    one, other = yarn(64, 1e5, 8192, 4.0), yarn(64, 1e5, 8192, 4.0, 32, 1)
    assert torch.equal(one.frequencies, other.frequencies)


# Closed forms


@given(st.integers(2, 64), st.floats(2, 1e6), st.floats(1, 100))
@unhurried
def test_ntk_aware_keeps_the_fastest_pair_and_interpolates_the_slowest(pairs, base, factor):
    head_dim = 2 * pairs
    found, fresh = (
        r.frequencies for r in (ntk_aware(head_dim, base, factor), rope(head_dim, base))
    )
    assert float(found[0]) == 1.0
    assert float(found[-1]) == pytest.approx(float(fresh[-1]) / factor, rel=1e-9)
    between = [factor ** (-i / (pairs - 1)) for i in range(pairs)]
    assert (found / fresh).tolist() == pytest.approx(between, rel=1e-9)


@given(st.integers(1, 20_000), st.floats(1, 8))
@unhurried
def test_dynamic_ntk_is_as_trained_and_then_ntk_aware_by_the_length(length, factor):
    found = dynamic_ntk(64, 1e4, 2048, length, factor).frequencies
    if length <= 2048:
        assert torch.equal(found, rope(64, 1e4).frequencies)
    else:
        stretch = 1 + factor * (length / 2048 - 1)
        expected = ntk_aware(64, 1e4, stretch).frequencies
        torch.testing.assert_close(found, expected, atol=0, rtol=FP64_ROUNDING)


def test_dynamic_ntk_keeps_pace_with_the_length_by_default():
    found, expected = dynamic_ntk(64, 1e4, 2048, 6144), ntk_aware(64, 1e4, 3.0)
    assert torch.equal(found.frequencies, expected.frequencies)


@pytest.mark.parametrize(("head_dim", "base", "trained"), MODELS)
def test_yarn_leaves_pairs_that_turn_often_and_interpolates_those_that_do_not(
    head_dim, base, trained
):
    fresh, found = rope(head_dim, base).frequencies, yarn(head_dim, base, trained, 4.0)
    turned = trained * fresh / (2 * math.pi)
    kept = found.frequencies / fresh
    beta = base ** (2 / head_dim)  # the ends of the ramp are moved outwards to whole pairs
    assert kept[turned > 32 * beta].tolist() == pytest.approx(
        [1.0] * int((turned > 32 * beta).sum())
    )
    assert kept[turned < 1 / beta].tolist() == pytest.approx(
        [0.25] * int((turned < 1 / beta).sum())
    )
    assert (kept.diff() <= 0).all()
    assert found.temperature == pytest.approx(1 + math.log(4) / 10)


def test_yarn_of_factor_1_is_as_trained():
    found = yarn(64, 1e4, 2048, 1.0)
    torch.testing.assert_close(found.frequencies, rope(64, 1e4).frequencies)
    assert found.temperature == 1.0


def test_interpolated_positions_are_divided_ones():
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    at = torch.arange(5)
    stretched = rotate(x, turns(interpolation(64, 1e4, 4.0), 4 * at))
    torch.testing.assert_close(stretched, rotate(x, turns(rope(64, 1e4), at)), atol=0, rtol=0)


# Stale keys


def drawn(count, head_dim=32):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(head_dim, generator=generator), torch.randn(
        count, head_dim, generator=generator
    )


def by_hand(query, keys, lengths, trained, factor):
    """Scores of the last query with each key, which is turned as of its length; in NumPy."""
    count, dim = keys.shape
    q, k = (x.numpy().astype(float).reshape(-1, dim // 2, 2) @ [1, 1j] for x in (query, keys))

    def angle(length):
        stretch = max(1, 1 + factor * (length / trained - 1))
        base = 10_000.0 * stretch ** (dim / (dim - 2))
        return base ** (-np.arange(0, dim, 2) / dim)

    now = q[0] * np.exp(1j * (count - 1) * angle(count))
    turned = [k[n] * np.exp(1j * n * angle(lengths[n])) for n in range(count)]
    return np.array([(now * key.conj()).real.sum() for key in turned]) / math.sqrt(dim)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_stale_scores_are_of_each_keys_own_length(factor):
    query, keys = drawn(40)
    cached_at = torch.arange(1, 41).clamp(min=9)
    found = stale_scores(query, keys, cached_at, 10_000.0, 16, factor)
    fresh = by_hand(query, keys, [40] * 40, 16, factor)
    stale = by_hand(query, keys, cached_at.tolist(), 16, factor)
    # 32 products of numbers up to 3, over sqrt(32)
    np.testing.assert_allclose(found.fresh.numpy(), fresh, atol=1e-5)
    np.testing.assert_allclose(found.stale.numpy(), stale, atol=1e-5)
    np.testing.assert_allclose(found.error.numpy(), stale - fresh, atol=2e-5)
    # the first key is at position 0, where no frequency turns it; the last came just now
    assert found.error[[0, -1]].abs().max() < 1e-6
    assert found.error.abs().max() > 0.1


def test_no_key_is_stale_up_to_the_trained_length():
    query, keys = drawn(16)
    found = stale_scores(query, keys, torch.arange(1, 17), 10_000.0, 16)
    assert found.error.abs().max() < 1e-6


def test_no_key_is_stale_when_all_came_with_the_query():
    query, keys = drawn(40)
    found = stale_scores(query, keys, torch.full((40,), 40), 10_000.0, 16)
    assert found.error.abs().max() < 1e-6


# Dials and digits


def test_dials_hold_each_methods_frequencies():
    found = dials(64, 100_000, 8192, (1, 3))
    assert (found.head_dim, found.base, found.trained) == (64, 100_000.0, 8192)
    assert found.methods == ("as trained", "interpolation", "NTK-aware", "YaRN")
    assert found.factors == (1.0, 3.0)
    assert found.frequencies.shape == (4, 2, 32)
    assert found.frequencies.dtype == np.float64
    expected = (
        rope(64, 1e5),
        interpolation(64, 1e5, 3),
        ntk_aware(64, 1e5, 3),
        yarn(64, 1e5, 8192, 3),
    )
    for row, made in zip(found.frequencies, expected, strict=True):
        np.testing.assert_allclose(row[0], expected[0].frequencies.numpy(), rtol=FP64_ROUNDING)
        np.testing.assert_array_equal(row[1], made.frequencies.numpy())
    assert dials(64, 100_000, 8192).factors == (1.0, 2.0, 4.0, 8.0)


def test_dials_that_made_a_full_turn_in_training_are_never_outside():
    found = dials(64, 100_000, 8192, (1, 3, 4))
    slow = 8192 * rope(64, 1e5).frequencies.numpy() < 2 * math.pi
    assert 0 < slow.sum() < 32
    assert not outside(found, 8192).any()
    longer = outside(found, 3 * 8192)
    assert longer.shape == (4, 3, 32)
    trained, stretched, ntk, by_parts = longer[:, 1]
    np.testing.assert_array_equal(trained, slow)
    assert not stretched.any()
    assert not by_parts[-4:].any()
    # NTK-aware brings only the slowest back to its range: those between are slowed too little
    np.testing.assert_array_equal(ntk, slow & (np.arange(32) < 31))
    np.testing.assert_array_equal(outside(found, 8193)[0], [slow] * 3)


@given(st.integers(0, 2**40), st.integers(2, 40))
@unhurried
def test_digits_spell_the_position(position, beta):
    found = digits(position, beta, 41)
    assert ((found >= 0) & (found < beta)).all()
    assert sum(int(digit) * beta**i for i, digit in enumerate(found)) == position


def test_digits_of_many_positions_and_of_a_broken_base():
    np.testing.assert_array_equal(digits(np.array([[1234], [7]]), 10, 5)[:, 0, ::-1],
                                  [[0, 1, 2, 3, 4], [0, 0, 0, 0, 7]])  # fmt: skip
    expected = [math.floor(1234 / 2.5**i) % 2.5 for i in range(8)]
    np.testing.assert_allclose(digits(1234, 2.5, 8), expected)


# Refused


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        *(
            (lambda make=make, factor=factor: make(factor), ValueError,
             f"factor must be at least 1, the new context over the trained one, got {factor!r}")
            for factor in (0.5, -1.0, math.inf, math.nan)
            for make in (
                lambda factor: interpolation(64, 1e4, factor),
                lambda factor: ntk_aware(64, 1e4, factor),
                lambda factor: dynamic_ntk(64, 1e4, 2048, 4096, factor),
                lambda factor: yarn(64, 1e4, 2048, factor),
                lambda factor: dials(64, 1e4, 2048, (1, factor)),
            )
        ),
        (lambda: interpolation(7, 1e4, 2), ValueError, "head_dim must be an even number"),
        (lambda: yarn(64, 0, 2048, 2), ValueError, "base must be a number over 1"),
        (lambda: ntk_aware(64, 0.9, 2), ValueError, "base must be a number over 1, so that later "
         "pairs turn slower, got 0.9"),
        (lambda: ntk_aware(2, 1e4, 2), ValueError,
         "head_dim must be at least 4, so that one pair stays and one slows, got 2"),
        (lambda: dynamic_ntk(64, 1e4, 0, 5), ValueError, "trained must be at least 1 token, got 0"),
        (lambda: dynamic_ntk(64, 1e4, 5, 0), ValueError, "length must be at least 1 token, got 0"),
        (lambda: dynamic_ntk(64, 1e4, 5, 6.5), TypeError, "length must be a whole number, got 6.5"),
        (lambda: yarn(64, 1e4, -3, 2), ValueError, "trained must be at least 1 token, got -3"),
        (lambda: yarn(64, 1e4, 2048, 2, 1, 32), ValueError,
         "beta_slow must be over 0 and beta_fast over beta_slow, got 32 and 1"),
        (lambda: yarn(64, 1e4, 2048, 2, 1, 0), ValueError, "got 0 and 1"),
        (lambda: yarn(64, 1e4, 4, 2), ValueError,
         "trained must be a length in which some pair turns 1 to 32 times, got 4: with base 10000 "
         "there is none"),
        (lambda: yarn(4, 2.0, 10**9, 2), ValueError, "got 1000000000: with base 2 there is none"),
        (lambda: stale_scores(torch.zeros(4), torch.zeros(3, 8), torch.arange(3), 1e4, 2),
         ValueError, "keys of shape (3, 8) need a query of shape (8,) and cached_at of shape (3,), "
         "got (4,) and (3,)"),
        (lambda: stale_scores(torch.zeros(8), torch.zeros(3, 8), torch.arange(2), 1e4, 2),
         ValueError, "got (8,) and (2,)"),
        (lambda: stale_scores(torch.zeros(8), torch.zeros(3, 8), torch.arange(3), 1e4, 2),
         ValueError, "length must be at least 1 token, got 0"),
        (lambda: dials(64, 1e4, 2048, ()), ValueError, "factors must have at least one number"),
        (lambda: outside(dials(64, 1e4, 2048), 0), ValueError, "length must be at least 1 token"),
        (lambda: digits(-1, 10, 3), ValueError, "positions must be 0 to 2^53"),
        (lambda: digits(2**60, 2, 3), ValueError, "positions must be 0 to 2^53"),
        (lambda: digits(1.5, 10, 3), TypeError, "positions must be whole numbers, got float64"),
        (lambda: digits(1, 1.0, 3), ValueError, "beta must be a number over 1, got 1.0"),
        (lambda: digits(1, 10, 0), ValueError, "count must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_in_a_sentence(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()
