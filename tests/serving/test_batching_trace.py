"""Traces: files read and refused, requests drawn, rates and slices."""

import json

import numpy as np
import pytest

from toolkit import assets
from toolkit.serving.batching import Exponential, Fixed, LogNormal, Trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def columns(trace):
    return [
        trace.arrival.tolist(),
        trace.prompt_tokens.tolist(),
        trace.output_tokens.tolist(),
        trace.max_tokens,
        trace.blocks,
    ]


def test_azure_times_to_the_seventh_digit_in_order_of_arrival(tmp_path):
    path = written(
        tmp_path,
        "azure.csv",
        AZURE
        + "2023-11-16 23:59:59.9999999,7,3\n"
        + "2023-11-16 23:59:59.9999998,5,1\n"
        + "2023-11-17 00:00:01,6,2\n",
    )
    trace = Trace.load(path)
    # seconds since 1970 leave a double 2.4e-7
    np.testing.assert_allclose(trace.arrival, [0, 1e-7, 1.0000002], atol=3e-7)
    assert columns(trace)[1:] == [[5, 7, 6], [1, 3, 2], 3, None]


def test_a_table_of_ones_own(tmp_path):
    text = "user,output_tokens,arrival,prompt_tokens\r\na,4,2.5,10\r\nb,1,0.5,20\r\n"
    trace = Trace.load(str(written(tmp_path, "mine.csv", "\ufeff" + text)))
    assert columns(trace) == [[0.0, 2.0], [20, 10], [1, 4], 4, None]
    assert [(r.id, r.arrival, r.prompt_tokens, r.output_tokens, r.max_tokens) for r in trace] == [
        (0, 0.0, 20, 1, 4),
        (1, 2.0, 10, 4, 4),
    ]


def trace_of(arrival, prompt_tokens, output_tokens, **columns):
    return Trace(np.array(arrival), np.array(prompt_tokens), np.array(output_tokens), 9, **columns)


def row(**changes):
    plain = {"timestamp": 3000, "input_length": 513, "output_length": 2, "hash_ids": [0, 7]}
    return json.dumps({**plain, **changes})


def test_mooncake(tmp_path):
    text = row() + "\n" + row(timestamp=1000, input_length=512, hash_ids=[4]) + "\n"
    trace = Trace.load(written(tmp_path, "mooncake.jsonl", text))
    assert columns(trace) == [[0.0, 2.0], [512, 513], [2, 2], 2, ((4,), (0, 7))]
    assert [request.blocks for request in trace.first(1)] == [(4,)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv must have the columns arrival, prompt_tokens, .*; it has none"),
        (
            "a.csv",
            "arrival,prompt\n1,2\n",
            "output_tokens, or TIMESTAMP, .* it has arrival, prompt",
        ),
        ("a.csv", AZURE, "a.csv has no requests: it needs at least one row"),
        (
            "a.csv",
            AZURE + "2023-11-16 18:15:46,7,3\n18:15,7,3\n",
            "a.csv, line 3: TIMESTAMP must be a time such as 2023-.*, got '18:15'",
        ),
        (
            "a.csv",
            AZURE + "2023-11-16 18:15:46,0,3\n",
            "line 2: ContextTokens must be a whole number of at least 1, below .*, got '0'",
        ),
        (
            "a.csv",
            AZURE + "2023-11-16 18:15:46,12345678901234567890,3\n",
            r"line 2: ContextTokens must be .* below 2\*\*31, got '12345678901234567890'",
        ),
        (
            "a.csv",
            AZURE + "2023-11-16 18:15:46.5e3,7,3\n",
            "line 2: TIMESTAMP must be a time such as .* got '2023-11-16 18:15:46.5e3'",
        ),
        (
            "a.csv",
            "ContextTokens,GeneratedTokens,TIMESTAMP\n7,3\n",
            "line 2: TIMESTAMP must be a time such as .* got None",
        ),
        (
            "a.csv",
            AZURE + "2023-11-16 18:15:46,7,1.5\n",
            "line 2: GeneratedTokens must be a whole number of at least 1, .* got '1.5'",
        ),
        (
            "a.csv",
            "arrival,prompt_tokens,output_tokens\n0,1,1\n\n-1,1,1\n",
            "line 4: arrival must be a number of at least 0, got '-1'",
        ),
        ("a.csv", "arrival,prompt_tokens,output_tokens\nnan,1,1\n", "got 'nan'"),
        ("a.csv", "arrival,prompt_tokens,output_tokens\n0,1\n", "output_tokens must .* got None"),
        (
            "a.csv",
            'arrival,prompt_tokens,output_tokens\n0,"' + 140_000 * "1",
            "a.csv, line 2: field larger than .*: check that it is a table of numbers",
        ),
        ("a.jsonl", "", "a.jsonl has no requests"),
        ("a.jsonl", row() + "\n{\n", "a.jsonl, line 2: '{' must be a JSON object with timestamp, "),
        ("a.jsonl", '{"timestamp": 0}', "line 1: .* must be a JSON object with timestamp, input_l"),
        ("a.jsonl", "[1]", "line 1: .* must be a JSON object"),
        (
            "a.jsonl",
            row(hash_ids=[1]),
            "one id for each 512 of its 513 tokens, which is 2, got 1 i",
        ),
        ("a.jsonl", row(hash_ids=None), "which is 2, got None"),
        (
            "a.jsonl",
            row(hash_ids=[1, "x"]),
            "line 1: hash_ids must be a whole number below .* got 'x'",
        ),
        (
            "a.jsonl",
            row(hash_ids=[1, 2**64]),
            r"hash_ids must be a whole number below 2\*\*63, got",
        ),
        ("a.jsonl", row(timestamp=10**400), "timestamp must be a number of at least 0, got 1000"),
        ("a.jsonl", row(input_length=True), "input_length must be a whole number .* got True"),
        ("a.jsonl", row(output_length=0), "output_length must be a whole number of at least 1"),
        ("a.jsonl", row(timestamp="soon"), "timestamp must be a number of at least 0, got 'soon'"),
    ],
)
def test_a_bad_file_is_refused_by_its_line(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        Trace.load(written(tmp_path, name, text))


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("utf-16", "a.csv, line 1: the byte 0xff is"), ("latin-1", "a.csv, line 2: the byte 0xfc is")],
)
def test_a_file_in_another_encoding_is_refused_by_its_line(tmp_path, encoding, message):
    text = "arrival,prompt_tokens,output_tokens,who\n0,1,1,Zürich\n"
    with pytest.raises(ValueError, match=f"{message} not UTF-8: save the file in that encoding"):
        Trace.load(written(tmp_path, "a.csv", text, encoding))


def test_azure_conversations():
    if assets.status("azure-llm-2023-conv").path is None:
        pytest.skip("run `toolkit assets get azure-llm-2023-conv` first")
    trace = Trace.load(assets.get("azure-llm-2023-conv"))
    assert len(trace) == 19_366
    assert trace.max_tokens == 1000
    lengths = (trace.prompt_tokens, trace.output_tokens)
    assert [round(float(column.mean())) for column in lengths] == [1155, 211]
    assert [float(np.median(column)) for column in lengths] == [1020, 129]
    assert (np.diff(trace.arrival) >= 0).all()
    assert trace.arrival[-1] == pytest.approx(3501.721937, abs=1e-6)


def test_mooncake_conversations():
    if assets.status("mooncake-conversation").path is None:
        pytest.skip("run `toolkit assets get mooncake-conversation` first")
    trace = Trace.load(assets.get("mooncake-conversation"))
    assert len(trace) == len(trace.blocks) == 12_031
    assert (trace.prompt_tokens.max(), trace.max_tokens) == (126_195, 2000)
    assert trace.arrival[-1] == 3536.999


def test_lengths_drawn_have_the_published_statistics():
    trace = Trace.synthetic(100_000, 5.0, seed=0)
    # standard errors: 0.2 % and 0.4 % of the means, 0.2 % and 0.4 % of the medians
    assert trace.prompt_tokens.mean() == pytest.approx(1155, rel=0.01)
    assert np.median(trace.prompt_tokens) == pytest.approx(1020, rel=0.01)
    assert trace.output_tokens.mean() == pytest.approx(211, rel=0.02)
    assert np.median(trace.output_tokens) == pytest.approx(129, rel=0.02)
    assert trace.prompt_tokens.max() <= 14_050
    assert trace.output_tokens.min() >= 1
    assert trace.max_tokens == trace.output_tokens.max() == 1000
    short = Trace.synthetic(5, 5.0, outputs=Exponential(3, 700), seed=0)
    assert short.output_tokens.max() < short.max_tokens == 700
    assert {request.max_tokens for request in short} == {700}


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 3.0])
def test_arrivals_drawn_have_their_rate_and_spread(cv):
    gaps = np.diff(Trace.synthetic(50_000, 8.0, cv=cv, seed=1).arrival)
    # a mean of n has a relative error of cv / sqrt(n)
    assert gaps.mean() == pytest.approx(1 / 8, rel=max(1e-9, 5 * cv / np.sqrt(50_000)))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-6)
    if cv == 1.0:  # exponential: as many gaps beyond x means as exp(-x)
        assert (gaps > 2 / 8).mean() == pytest.approx(np.exp(-2), rel=0.05)


def test_what_is_drawn_depends_on_the_seed_and_each_column_on_it_alone():
    trace = Trace.synthetic(50, 2.0, seed=3)
    again = Trace.synthetic(50, 2.0, seed=3)
    assert columns(trace) == columns(again)
    assert columns(trace)[0] != columns(Trace.synthetic(50, 2.0, seed=4))[0]
    fixed = Trace.synthetic(50, 2.0, prompts=Fixed(9), seed=3)
    assert columns(fixed)[0] == columns(trace)[0]
    assert columns(fixed)[2] == columns(trace)[2]
    assert set(columns(fixed)[1]) == {9}
    assert len(Trace.synthetic(5, 1.0, prompts=Fixed(np.int8(9)), seed=3)) == 5
    faster = Trace.synthetic(50, 4.0, seed=3)
    np.testing.assert_allclose(faster.arrival * 2, trace.arrival)


@pytest.mark.parametrize(
    ("mean", "median", "most"), [(2600, 2490, 8000), (2540, 2500, 4000), (300, 10, 2000)]
)
def test_log_normal_lengths_keep_mean_and_median_though_they_are_cut(mean, median, most):
    lengths = LogNormal(mean, median, most).draw(np.random.default_rng(0), 200_000)
    error = lengths.std() / np.sqrt(len(lengths))
    assert lengths.mean() == pytest.approx(mean, abs=5 * error)
    # about the median lie 0.4 / sqrt(n) of the standard deviations
    assert np.median(lengths) == pytest.approx(median, rel=0.02)
    assert lengths.max() == most


def test_exponential_lengths():
    lengths = Exponential(100, 100_000).draw(np.random.default_rng(0), 50_000)
    assert lengths.mean() == pytest.approx(100, rel=0.03)
    assert (lengths > 200).mean() == pytest.approx(np.exp(-2), rel=0.05)
    cut = Exponential(100, 150).draw(np.random.default_rng(0), 50_000)
    np.testing.assert_array_equal(cut, np.minimum(lengths, 150))


def test_rate_and_slices():
    trace = Trace.synthetic(101, 2.0, cv=0.0, seed=0)
    assert trace.rate == pytest.approx(2.0)
    assert trace.at_rate(5.0).rate == pytest.approx(5.0)
    np.testing.assert_allclose(trace.at_rate(5.0).arrival, trace.arrival * 0.4)
    assert columns(trace.first(3))[:3] == [[0.0, 0.5, 1.0], *(c[:3] for c in columns(trace)[1:3])]
    assert len(trace.first(1000)) == 101


def test_a_rate_counts_from_the_first_arrival():
    trace = trace_of([10.0, 11.0, 13.0], [1, 1, 1], [1, 1, 1])
    assert trace.rate == pytest.approx(2 / 3)
    assert trace.at_rate(2.0).rate == pytest.approx(2.0)
    np.testing.assert_allclose(trace.at_rate(2.0).arrival, [10, 10 + 1 / 3, 11])
    assert trace_of([10.0, 10.0], [1, 1], [1, 1]).rate == np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trace.synthetic(0, 1.0, seed=0), "count must be at least 1, got 0"),
        (lambda: Trace.synthetic(5, 0.0, seed=0), "rate must be a positive number .* got 0.0"),
        (
            lambda: Trace.synthetic(5, 1.0, cv=-1.0, seed=0),
            "cv must be 0 .* 0.001 to 100, got -1.0",
        ),
        (lambda: Trace.synthetic(5, 1.0, cv=1e-200, seed=0), "cv must be 0 for .* got 1e-200"),
        (lambda: Trace.synthetic(5, 1.0, cv=1e200, seed=0), r"cv must be 0 for .* got 1e\+200"),
        (lambda: Trace.synthetic(5, 1.0, cv=np.nan, seed=0), "cv must be 0 for .* got nan"),
        (lambda: Trace.synthetic(5, 1.0, seed=-1), "seed must be at least 0, got -1"),
        (lambda: trace_of([np.nan], [1], [1]), "arrival must be finite and at least 0, .* got nan"),
        (lambda: trace_of([0, np.inf], [1, 1], [1, 1]), "arrival must be finite .* got inf"),
        (lambda: trace_of([-1.0], [1], [1]), "arrival must be finite and at least 0, .* got -1.0"),
        (lambda: Trace.synthetic(5, 1.0, seed=0).first(0), "count must be at least 1, got 0"),
        (lambda: Trace.synthetic(1, 1.0, seed=0).at_rate(2.0), "all come at once have no rate"),
        (lambda: trace_of([], [], []), "of one length, at least 1, got 0"),
        (lambda: trace_of([0.0, 1.0], [1], [1]), "of one length, at least 1, got 1 and 2"),
        (lambda: trace_of([0.0], [1], [1], blocks=()), "of one length, at least 1, got 0 and 1"),
        (lambda: trace_of([1.0, 0.0], [1, 1], [1, 1]), "arrival must be ascending: sort"),
        (lambda: trace_of([0.0], [0], [1]), "prompt_tokens must be at least 1, got 0"),
        (lambda: trace_of([0.0], [1], [-2]), "output_tokens must be at least 1, got -2"),
        (lambda: trace_of([0.0], [1], [10]), "max_tokens must be at least 10, which .* got 9"),
        (lambda: Fixed(0), "tokens must be at least 1, got 0"),
        (lambda: Exponential(0.5, 9), "mean must be at least 1 and at most 9, .* got 0.5"),
        (lambda: Exponential(10, 9), "at most 9, which is the most, got 10"),
        (lambda: LogNormal(10, 10, 99), "1 <= median < mean < most, got median 10, mean 10"),
        (lambda: LogNormal(90, 10, 99), "at most 99 have a mean of 90: it is at most"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


NOUGHT, ONE = np.zeros(1), np.array([1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Trace([0.0], ONE, ONE, 9),
            r"arrival must be a NumPy array of float64, .* \[0.0\]",
        ),
        (lambda: Trace(NOUGHT, [1], ONE, 9), "prompt_tokens must be a NumPy array of int64"),
        (lambda: Trace(NOUGHT, np.array([np.nan]), ONE, 9), r"prompt_tokens must .* array\(\[nan"),
        (lambda: Trace(NOUGHT, ONE, np.array([2.5]), 9), r"output_tokens must .* array\(\[2.5\]"),
        (lambda: Trace(NOUGHT, ONE, np.array([[1, 2]]), 9), "output_tokens .*, a number a request"),
        (lambda: Trace(NOUGHT, ONE, ONE, np.nan), "max_tokens must be a whole number, got nan"),
        (lambda: Trace(NOUGHT, ONE, ONE, 2.5), "max_tokens must be a whole number, got 2.5"),
        (lambda: Trace.synthetic(5, 1.0, seed=None), "seed must be a whole number, got None"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
