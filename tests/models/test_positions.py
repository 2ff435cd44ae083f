"""RoPE against rotation matrices and transformers; ALiBi and sinusoids; what is refused."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.deepseek_v3.modeling_deepseek_v3 import apply_rotary_pos_emb_interleave
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from toolkit.models.positions import (
    Rope,
    alibi_bias,
    alibi_slopes,
    rope,
    rotate,
    rotate_plain,
    sinusoidal,
    to_halves,
    to_interleaved,
    turns,
)

LAYOUTS = ["interleaved", "halves"]
# a rotation adds two products of numbers of about 1 to 4, each rounded to 2^-24 of itself
FP32_ROUNDING = 2e-6
BF16_ROUNDING = 2**-8

unhurried = settings(deadline=None, max_examples=40)


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(head_dim, base, position, layout):
    """The rotation as one matrix of head_dim x head_dim, in float64."""
    whole = np.zeros((head_dim, head_dim))
    for i in range(head_dim // 2):
        angle = position / base ** (2 * i / head_dim)
        cos, sin = math.cos(angle), math.sin(angle)
        a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + head_dim // 2)
        whole[np.ix_([a, b], [a, b])] = [[cos, -sin], [sin, cos]]
    return torch.from_numpy(whole)


def cos_and_sin(rope, positions):
    """What transformers passes around: each cosine and sine for both halves of a head."""
    angles = (positions[:, None] * rope.frequencies).repeat(1, 2)
    return (rope.temperature * angles.cos()).float()[None], (
        rope.temperature * angles.sin()
    ).float()[None]


# Frequencies


@pytest.mark.parametrize("head_dim", [2, 6, 64, 128])
@pytest.mark.parametrize("base", [2, 10_000.0, np.float32(100_000)])
def test_frequencies_fall_from_1_by_the_same_ratio(head_dim, base):
    made = rope(head_dim, base)
    beta = float(base) ** (2 / head_dim)
    assert made.frequencies.dtype == torch.float64
    assert made.frequencies.tolist() == pytest.approx([beta**-i for i in range(head_dim // 2)])
    assert made.temperature == 1.0


def test_the_default_base_is_the_papers():
    assert rope(4).frequencies.tolist() == pytest.approx([1, 0.01])


# Turns


def test_turns_are_complex_exponentials_of_positions_of_any_shape():
    made = Rope(torch.tensor([1.0, 0.25], dtype=torch.float64), temperature=1.5)
    positions = torch.tensor([[0, 3, 7], [-2, 1, 1000]])
    found = turns(made, positions)
    assert found.shape == (2, 3, 2)
    assert found.dtype == torch.complex64
    expected = 1.5 * np.exp(1j * positions.numpy()[..., None] * np.array([1.0, 0.25]))
    np.testing.assert_allclose(found.numpy(), expected, atol=FP32_ROUNDING)
    assert turns(made, torch.tensor(3)).shape == (2,)
    assert turns(made, torch.zeros(0, dtype=torch.long)).shape == (0, 2)


def test_turns_far_out_are_exact_to_float32():
    """In float32 the angle 1,000,003 * theta would itself be off by up to 0.03."""
    made = rope(64, 100_000.0)
    found = turns(made, torch.tensor([1_000_003], dtype=torch.int32))[0]
    expected = [math.cos(1_000_003 * theta) for theta in made.frequencies.tolist()]
    np.testing.assert_allclose(found.real.numpy(), expected, atol=1e-7)


# Rotation


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("head_dim", [2, 6, 64])
@pytest.mark.parametrize("position", [0, 1, 8191])
def test_rotation_is_that_of_a_matrix(layout, head_dim, position):
    x = random(3, head_dim)
    expected = x.double() @ matrix(head_dim, 100_000, position, layout).T
    found = rotate(x, turns(rope(head_dim, 100_000), torch.tensor(position)), layout)
    torch.testing.assert_close(found.double(), expected, atol=FP32_ROUNDING, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotation_is_transformers(layout):
    """Heads before tokens, positions that start anywhere, a temperature."""
    made = Rope(rope(64).frequencies, temperature=1.25)
    positions = torch.tensor([5, 6, 700, 8, 100_000])
    q, k = random(2, 9, 5, 64), random(2, 3, 5, 64, seed=1)
    theirs = apply_rotary_pos_emb
    if layout == "interleaved":
        # transformers puts the pairs in order of halves as it turns them
        def theirs(*args):
            both = apply_rotary_pos_emb_interleave(*args)
            return [x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2) for x in both]

    expected = theirs(q, k, *cos_and_sin(made, positions))
    for x, other in zip((q, k), expected, strict=True):
        found = rotate(x, turns(made, positions), layout)
        torch.testing.assert_close(found, other, atol=FP32_ROUNDING, rtol=0)


@pytest.mark.parametrize("position", [0, 3, 5000])
def test_rotation_is_that_of_the_plain_version(position):
    made = Rope(rope(16).frequencies, temperature=1.5)
    x = random(16)
    found = rotate(x, turns(made, torch.tensor(position)))
    torch.testing.assert_close(found, rotate_plain(x, made, position), atol=FP32_ROUNDING, rtol=0)


def test_each_sequence_of_a_batch_has_positions_of_its_own():
    made, x = rope(8), random(2, 3, 4, 8)
    positions = torch.tensor([[0, 1, 2, 3], [0, 0, 5, 6]])
    together = rotate(x, turns(made, positions[:, None]))
    for row in range(2):
        torch.testing.assert_close(
            together[row], rotate(x[row], turns(made, positions[row])), atol=FP32_ROUNDING, rtol=0
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@given(m=st.integers(0, 20_000), n=st.integers(0, 20_000), shift=st.integers(-10_000, 100_000))
@unhurried
def test_scores_depend_on_the_distance_alone(layout, m, n, shift):
    made = rope(32)
    q, k = random(32, dtype=torch.float64), random(32, seed=1, dtype=torch.float64)

    def score(m, n):
        turned = turns(made, torch.tensor([m, n]))
        return float(rotate(q, turned[0], layout) @ rotate(k, turned[1], layout))

    # 32 products of numbers up to 3, of turns that are rounded to float32
    assert score(m, n) == pytest.approx(score(m + shift, n + shift), abs=32 * FP32_ROUNDING)


@given(m=st.integers(0, 20_000), n=st.integers(0, 20_000))
@unhurried
def test_a_score_is_the_formula_of_the_distance(m, n):
    """The real part of the sum of a conj(b) e^(i (m - n) theta)."""
    made, q, k = rope(32), random(32), random(32, seed=1)
    found = rotate(q, turns(made, torch.tensor(m))) @ rotate(k, turns(made, torch.tensor(n)))
    a, b = (x.numpy().astype(float).reshape(-1, 2) @ [1, 1j] for x in (q, k))
    expected = a * b.conj() * np.exp(1j * (m - n) * made.frequencies.numpy())
    assert float(found) == pytest.approx(expected.real.sum(), abs=32 * FP32_ROUNDING)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_distances_give_other_scores(layout):
    made, q, k = rope(32), random(32), random(32, seed=1)
    turned = turns(made, torch.arange(9))
    scores = [float(rotate(q, turned[8], layout) @ rotate(k, turned[n], layout)) for n in range(9)]
    assert np.diff(np.sort(scores)).min() > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_temperature_multiplies_scores_by_its_square(layout):
    plain = rope(32)
    hot = Rope(plain.frequencies, temperature=1.25)
    q, k = random(4, 32), random(4, 32, seed=1)

    def scores(made):
        return (
            rotate(q, turns(made, torch.arange(4)), layout)
            @ rotate(k, turns(made, torch.arange(4)), layout).T
        )

    torch.testing.assert_close(scores(hot), 1.25**2 * scores(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(layout, dtype):
    """Turned in float32 and rounded at the end: to the bit what float32 gives."""
    x = random(2, 5, 64).to(dtype)
    turned = turns(rope(64), torch.arange(1000, 1005))
    found = rotate(x, turned, layout)
    assert found.dtype == dtype
    assert torch.equal(found, rotate(x.float(), turned, layout).to(dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.flatten()[1:257].view(4, 64),
        lambda x: x.flatten()[: 4 * 67].view(4, 67)[:, 2:66],
        lambda x: x.flatten()[:256].view(64, 4).T,
        lambda x: x[0, :1, :64].expand(4, 64),
        lambda x: x.flatten()[:512].view(4, 128)[:, ::2],
    ],
    ids=["an odd offset", "odd strides", "transposed", "expanded", "every other"],
)
def test_views_are_turned_as_their_copies_and_left_alone(layout, view):
    whole = random(4, 4, 64)
    before = whole.clone()
    turned = turns(rope(64), torch.arange(4))
    x = view(whole)
    expected = rotate(x.clone(memory_format=torch.contiguous_format), turned, layout)
    torch.testing.assert_close(rotate(x, turned, layout), expected, atol=FP32_ROUNDING, rtol=0)
    assert torch.equal(whole, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_flow(layout):
    turned = turns(Rope(rope(6).frequencies, temperature=1.5), torch.arange(3))
    x = random(2, 3, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotate(x, turned, layout), x)
    # the same, through a copy of what has an odd offset
    flat = random(7, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotate(x[1:], turned[1], layout), flat)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_of_bf16_are_bf16(layout):
    turned = turns(rope(6), torch.arange(3))
    x = random(3, 6).bfloat16().requires_grad_()
    rotate(x, turned, layout).sum().backward()
    wide = x.detach().double().requires_grad_()
    rotate(wide, turned, layout).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad.double(), wide.grad, atol=2 * BF16_ROUNDING, rtol=0)


def test_no_tokens_are_turned_to_none():
    none = torch.zeros(0, dtype=torch.long)
    for layout in LAYOUTS:
        assert rotate(random(2, 0, 8), turns(rope(8), none), layout).shape == (2, 0, 8)


# From one layout to the other


@pytest.mark.parametrize(("heads", "head_dim"), [(1, 2), (1, 8), (3, 4), (9, 64)])
def test_projections_converted_between_layouts_give_the_same_scores(heads, head_dim):
    width, tokens = 10, 5
    x = random(tokens, width)
    weights = [random(heads * head_dim, width, seed=seed) for seed in (1, 2)]
    biases = [random(heads * head_dim, seed=seed) for seed in (3, 4)]
    turned = turns(rope(head_dim), torch.arange(tokens) + 40)

    def scores(convert, layout):
        q, k = (
            rotate(
                (x @ convert(w, head_dim).T + convert(b, head_dim))
                .unflatten(-1, (heads, head_dim))
                .transpose(0, 1),
                turned,
                layout,
            )
            for w, b in zip(weights, biases, strict=True)
        )
        return q @ k.mT

    expected = scores(lambda w, _: w, "interleaved")
    torch.testing.assert_close(scores(to_halves, "halves"), expected, atol=1e-3, rtol=1e-5)
    for weight in (*weights, *biases):
        assert torch.equal(to_interleaved(to_halves(weight, head_dim), head_dim), weight)
        assert torch.equal(to_halves(to_interleaved(weight, head_dim), head_dim), weight)


def test_halves_take_the_first_of_every_pair_and_then_the_second():
    rows = torch.arange(12)
    assert to_halves(rows, 6).tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    assert to_interleaved(rows, 6).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


# In other ways


@pytest.mark.parametrize("width", [2, 10])
def test_sinusoids_are_the_formula_of_the_paper(width):
    positions = torch.tensor([[0, 1], [77, 5000]])
    found = sinusoidal(positions, width, 1000.0)
    assert found.shape == (2, 2, width)
    assert found.dtype == torch.float32
    for place in np.ndindex(2, 2):
        for i in range(width // 2):
            angle = int(positions[place]) / 1000 ** (2 * i / width)
            assert float(found[place][2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[place][2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
    assert torch.equal(sinusoidal(positions, 4), sinusoidal(positions, 4, 10_000.0))


@pytest.mark.parametrize("heads", [1, 2, 3, 5, 7, 8, 9, 12, 16, 20, 32, 71])
def test_slopes_are_blooms(heads):
    theirs = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(alibi_slopes(heads), theirs, atol=0, rtol=1e-6)


def test_slopes_of_8_heads_are_the_papers():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(8).dtype == torch.float32
    assert alibi_slopes(3).tolist() == [2.0**-4, 2.0**-8, 2.0**-2]


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 5), (2, 5), (4, 4)])
def test_a_bias_is_minus_the_slope_for_each_token_of_distance(queries, keys):
    found = alibi_bias(3, queries, keys)
    slopes = alibi_slopes(3).tolist()
    assert found.shape == (3, queries, keys)
    for head, query, key in np.ndindex(3, queries, keys):
        distance = keys - queries + query - key
        expected = -slopes[head] * distance if distance >= 0 else -math.inf
        assert float(found[head, query, key]) == expected


# Refused


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: rope(7), ValueError, "head_dim must be an even number of at least 2, since "
         "numbers turn in pairs, got 7"),
        (lambda: rope(0), ValueError, "head_dim must be an even number of at least 2"),
        (lambda: rope(-2), ValueError, "got -2"),
        (lambda: rope(8.0), TypeError, "head_dim must be a whole number, got 8.0"),
        *(
            (lambda base=base: rope(8, base), ValueError, "base must be a number over 1, so that "
             f"later pairs turn slower, got {base!r}")
            for base in (0.0, -10_000.0, 1, math.inf, math.nan)
        ),
        (lambda: turns(rope(8), torch.tensor([0.5])), TypeError, "positions must be whole numbers, "
         "since torch.float32 does not hold them all: use positions.long()"),
        (lambda: rotate(random(3, 8), turns(rope(8), torch.arange(3)), "split"), ValueError,
         "layout must be one of interleaved, halves, got 'split'"),
        (lambda: rotate(torch.arange(8), turns(rope(8), torch.tensor(1))), TypeError,
         "x must be of floating-point numbers, got torch.int64: use x.float()"),
        (lambda: to_halves(random(12, 5), 3), ValueError,
         "head_dim must be even and divide the 12 rows of the weight, got 3"),
        (lambda: to_interleaved(random(12, 5), 8), ValueError,
         "head_dim must be even and divide the 12 rows of the weight, got 8"),
        (lambda: to_halves(random(12, 5), 0), ValueError, "rows of the weight, got 0"),
        (lambda: sinusoidal(torch.arange(3), 5), ValueError, "width must be an even number of "
         "at least 2, for sines and cosines, got 5"),
        (lambda: sinusoidal(torch.arange(3), 0), ValueError, "got 0"),
        (lambda: alibi_slopes(0), ValueError, "heads must be at least 1, got 0"),
        (lambda: alibi_bias(2, 5, 4), ValueError,
         "queries must be the last of the keys, and so no more than 4, got 5"),
        (lambda: alibi_bias(2, 0, 4), ValueError, "queries must be at least 1 token, got 0"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_in_a_sentence(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "positions"),
    [
        ((4, 6), (4,)),
        ((4, 10), (4,)),
        ((4, 2), (4,)),
        ((4, 8), (3,)),
        ((1, 8), (3,)),
        ((4, 8), (1, 4)),
        ((2, 9, 4, 8), (2, 4)),
        ((8,), (3,)),
    ],
)
def test_turns_that_do_not_fit_are_refused(layout, shape, positions):
    """Also where torch would stretch x to fit them."""
    turned = turns(rope(8), torch.zeros(positions, dtype=torch.long))
    message = (
        f"turns of shape {(*positions, 4)} do not fit x of shape {shape}: the last dimension must "
        "be half of x's, each other that of x or 1"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        rotate(random(*shape), turned, layout)


def test_turns_of_one_pair_are_not_stretched_over_all():
    with pytest.raises(ValueError, match="the last dimension must be half"):
        rotate(random(4, 8), turns(rope(2), torch.arange(4)))
