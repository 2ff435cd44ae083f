"""``toolkit dedup``: whatever the files and however it is stopped, what ``deduplicate`` keeps."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import tracemalloc
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import zstandard

from toolkit import assets, cli
from toolkit.data.dedup import deduplicate, progress
from toolkit.data.dedup import stream as streaming
from toolkit.data.dedup.index import DedupIndex
from toolkit.data.dedup.inputs import InputError, Inputs, Position
from toolkit.data.dedup.lines import text_of, writing
from toolkit.data.dedup.progress import Stopped
from toolkit.data.dedup.stream import deduplicate_files
from toolkit.data.dedup.work import Work

TEXT = "one two three four five six seven eight nine ten"


def corpus(documents=120, seed=0):
    """Made-up texts, many of which are earlier ones with up to two words changed."""
    rng = random.Random(seed)
    texts = []
    for _ in range(documents):
        words = [f"w{rng.randrange(1000)}" for _ in range(rng.randrange(20, 60))]
        if texts and rng.random() < 0.5:
            words = rng.choice(texts).split()
            for _ in range(rng.randrange(3)):
                words[rng.randrange(len(words))] = f"w{rng.randrange(1000)}"
        texts.append(" ".join(words))
    return texts


def json_lines(texts, **more):
    return [json.dumps({"id": number, "text": text} | more) for number, text in enumerate(texts)]


def pack(data, name):
    return {"gz": gzip.compress, "zst": zstandard.compress}.get(name.split(".")[-1], bytes)(data)


def unpack(path):
    data = path.read_bytes()
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, so that files go by their bare names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def put(folder):
    """``put(name, lines)`` makes a file of lines, compressed as its name says."""

    def make(name, lines):
        data = b"".join(line if isinstance(line, bytes) else f"{line}\n".encode() for line in lines)
        path = folder / name
        path.write_bytes(pack(data, name))
        return path.relative_to(folder)

    return make


@pytest.fixture
def many_blocks(monkeypatch):
    """A block every few documents, and each is saved."""
    monkeypatch.setattr(streaming, "BLOCK", 1000)
    monkeypatch.setattr(streaming, "LINES", 10)
    monkeypatch.setattr("toolkit.data.dedup.work.SAVE_EVERY", 0)


@pytest.fixture
def toolkit(monkeypatch, capsys):
    """Run the command as typed; what it returns is (exit code, stderr)."""

    def run(typed):
        monkeypatch.setattr(sys, "argv", ["toolkit", *typed.split()])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        assert out == ""
        return int(stopped.value.code or 0), err

    return run


def run(folder, *paths, out="out", report=None, stop=lambda: False, skip_bad=False, **settings):
    inputs = Inputs([Path(path) for path in paths], skip_bad=skip_bad)
    report = report and folder / report
    return deduplicate_files(inputs, folder / out, report=report, stop=stop, **settings)


def on_call(number):
    """True from that call on."""
    calls = count(1)
    return lambda: next(calls) >= number


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def rows(path):
    return [json.loads(line) for line in unpack(path).splitlines()]


# What is written


@pytest.mark.parametrize("name", ["a.txt", "a", "a.jsonl", "a.JSON", "a.ndjson"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_the_lines_of_what_deduplicate_keeps(folder, put, name, packed):
    texts = corpus()
    lines = texts if name in ("a.txt", "a") else json_lines(texts)
    summary = run(folder, put(name + packed, lines), out=f"out{packed}")
    result = deduplicate(texts)
    assert 20 < len(result.kept) < 100
    assert unpack(folder / f"out{packed}").decode().splitlines() == [lines[i] for i in result.kept]
    assert (summary.documents, summary.kept) == (len(texts), len(result.kept))
    assert (summary.empty, summary.bad, summary.first_bad) == (0, 0, ())
    assert names(folder) == sorted([name + packed, f"out{packed}"])


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0.5},
        {"method": "simhash", "radius": 12},
        {"unit": "char", "ngram": 12},
        {"workers": 3},
    ],
)
def test_the_settings_are_those_of_deduplicate(folder, put, settings):
    texts = corpus()
    run(folder, put("a.txt", texts), **settings)
    kept = deduplicate(texts, **settings).kept
    assert (folder / "out").read_text().splitlines() == [texts[i] for i in kept]


def test_licence_texts(folder, put):
    texts = assets.texts("license-texts").texts[::30]
    lines = json_lines(texts)
    summary = run(folder, put("a.jsonl.gz", lines))
    result = deduplicate(texts)
    assert len(result.kept) < len(texts)
    assert (folder / "out").read_text().splitlines() == [lines[i] for i in result.kept]
    assert summary.empty == len(result.empty)


def test_a_kept_line_is_copied_byte_for_byte(folder, put):
    lines = [
        b' {"text" : "caf\\u00e9 \xe8\xbd\xaf", "n": 1.00}\t\r\n',
        b'{"text": "A", "text": "the last one counts"}\n',
        b'{"text": ""}\n',
        b'{"text": "no end of line"}',
    ]
    run(folder, put("a.jsonl", lines))
    assert (folder / "out").read_bytes() == b"".join(lines) + b"\n"


def test_a_blank_line_is_an_empty_document_among_plain_lines_only(folder, put):
    blank = ["", TEXT, "  ", TEXT, "\r"]
    summary = run(folder, put("a.txt", blank), out="plain")
    assert (folder / "plain").read_bytes() == f"\n{TEXT}\n  \n\r\n".encode()
    assert (summary.documents, summary.kept, summary.empty) == (5, 4, 3)
    lines = ["", *json_lines([TEXT, TEXT, ""]), " \t\r", ""]
    summary = run(folder, put("a.jsonl", lines), out="json")
    assert (folder / "json").read_text().splitlines() == [lines[1], lines[3]]
    assert (summary.documents, summary.kept, summary.empty, summary.bad) == (3, 2, 1, 0)


@pytest.mark.parametrize("files", [["a.txt"], ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst"]])
def test_no_document_at_all(folder, put, files):
    for name in files:
        put(name, [])
    summary = run(folder, *files, report="r")
    assert summary.documents == 0
    assert (folder / "out").read_bytes() == (folder / "r").read_bytes() == b""


def test_members_and_frames_are_read_to_the_last(folder, put):
    texts = corpus(9)
    parts = [f"{text}\n".encode() for text in texts]
    parts[4] = parts[4][:20], parts[4][20:]  # a line may lie in two
    parts[4:5] = parts[4]
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    put("a.gz", [gzip.compress(part) for part in parts])
    (folder / "a.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    (folder / "a.zst").write_bytes(skippable.join([b"", *map(zstandard.compress, parts), b""]))
    for name in ("a.gz", "a.zst"):
        assert run(folder, name, out=f"out of {name}").documents == len(texts)


def test_an_archive_holds_no_time(folder):
    with writing(folder / "a.gz", "a.gz") as file:
        file.write(b"text\n")
    assert (folder / "a.gz").read_bytes()[4:8] == bytes(4)


def test_lines_are_read_on_from_any_of_them(folder, put):
    inputs = Inputs([put(name, corpus(9)) for name in ("a.txt", "b.txt.gz", "c.txt.zst")])
    lines = list(inputs.lines())
    assert [at.place for at, _ in lines] == [(f, n) for f in range(3) for n in range(1, 10)]
    assert lines[-1][0].bytes_read == inputs.size
    for number, (at, _) in enumerate(lines, 1):
        assert list(inputs.lines(at)) == lines[number:]


def test_a_text_is_without_the_end_of_its_line():
    assert text_of(b"one\n", None) == "one"
    assert text_of(b'{"text": "one\\n"}\n', "text") == "one\n"


# The report


def test_the_report_names_each_removed_document_and_the_one_it_duplicates(folder, put):
    texts = corpus()
    lines = json_lines(texts)
    put("a.jsonl", ["", *lines[:50]])
    put("b.jsonl", [])
    put("c.jsonl.gz", ["[]", lines[50], "", "", *lines[51:]])
    run(folder, "a.jsonl", "b.jsonl", "c.jsonl.gz", report="r.zst", skip_bad=True)

    def place(i):
        if i < 50:
            return {"file": "a.jsonl", "line": i + 2}
        return {"file": "c.jsonl.gz", "line": i - 50 + (2 if i == 50 else 4)}

    result = deduplicate(texts)
    jaccard = {(i, j): similarity for i, j, similarity in result.pairs.tolist()}
    removed = [
        place(j) | {"duplicate_of": place(i), "jaccard": jaccard[i, j]}
        for j, i in enumerate(result.duplicate_of.tolist())
        if i != j
    ]
    bad = {"file": "c.jsonl.gz", "line": 1, "bad": "is a list, not an object"}
    in_a = sum(row["file"] == "a.jsonl" for row in removed)
    assert rows(folder / "r.zst") == [*removed[:in_a], bad, *removed[in_a:]]
    assert {row["duplicate_of"]["file"] for row in removed} == {"a.jsonl", "c.jsonl.gz"}


def test_a_report_on_another_disk(folder, put, monkeypatch):
    put("a.txt", [TEXT, TEXT])
    rename = os.rename

    def refuse(source, target):
        if str(source).endswith("report"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("os.rename", refuse)
    run(folder, "a.txt", report="r")
    assert len(rows(folder / "r")) == 1
    assert names(folder) == ["a.txt", "out", "r"]


# Bad lines


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", r"is not JSON \(unexpected end of data, at column [23]\)"),
        ("one two", r"is not JSON \(.*, at column 1\)"),
        ('{"text": NaN}', r"is not JSON \(.*, at column 10\)"),
        ('{"text": "\\ud800"}', r"is not JSON \(.*surrogate.*, at column \d+\)"),
        (b'\xef\xbb\xbf{"text": "a"}\n', r"is not JSON \(.*byte order mark.*\)"),
        (b'{"text": "caf\xe9"}\n', r"is not UTF-8 \(byte 0xe9 at 14\)"),
        (b'{"text": "a\n', r"is not JSON \(.*\)"),
        ("[]", "is a list, not an object"),
        ("1", "is a number, not an object"),
        ("{}", "has no field 'text'"),
        ('{"Text": ""}', "has no field 'text', only 'Text'"),
        (json.dumps(dict.fromkeys("abcdef")), r"has no field 'text', only 'a', .*, 'e', \.\.\."),
        ('{"text": null}', "has null in its field 'text', not a string"),
        ('{"text": true}', "has a boolean in its field 'text', not a string"),
        ('{"text": ["a"]}', "has a list in its field 'text', not a string"),
        ('{"text": {"a": 1}}', "has an object in its field 'text', not a string"),
    ],
)
def test_a_bad_line_is_named_with_the_reason(folder, put, line, why):
    put("a.jsonl", [*json_lines([TEXT]), "", line, *json_lines(["another"])])
    sentence = f"line 3 of a.jsonl {why}"
    with pytest.raises(InputError) as stopped:
        run(folder, "a.jsonl", report="r")
    advice = ": mend it, or leave such lines out with --skip-bad"
    assert re.fullmatch(sentence + advice, str(stopped.value)), stopped.value
    assert names(folder) == ["a.jsonl"]

    summary = run(folder, "a.jsonl", report="r", skip_bad=True)
    assert (summary.documents, summary.kept, summary.bad) == (2, 2, 1)
    assert re.fullmatch(sentence, *summary.first_bad)
    (row,) = rows(folder / "r")
    assert (row["file"], row["line"]) == ("a.jsonl", 3)
    assert re.fullmatch(why, row["bad"])


def test_a_plain_line_that_is_not_utf_8(folder, put):
    put("a.txt", ["good", b"caf\xe9\n", b"\xed\xa0\x80\n", "{"])
    with pytest.raises(InputError, match=r"^line 2 of a.txt is not UTF-8 \(byte 0xe9 at 4\): "):
        run(folder, "a.txt")
    assert run(folder, "a.txt", skip_bad=True).bad == 2
    assert (folder / "out").read_text() == "good\n{\n"


def test_bad_lines_are_counted_and_the_first_few_are_named(folder, put, toolkit):
    put("a.jsonl", [*json_lines([TEXT]), *["{}"] * 5])
    code, err = toolkit("dedup a.jsonl -o out --skip-bad")
    assert code == 0
    *left_out, last = err.splitlines()
    assert left_out == [
        *(f"left out: line {number} of a.jsonl has no field 'text'" for number in (2, 3, 4)),
        "left out: 2 more bad lines",
    ]
    said = r"documents 1 · kept 1 \(empty 0\) · removed 0 · bad lines 5 · \d+\.\d s"
    assert re.fullmatch(said, last)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("damage", ["cut", "swapped", "not one", "tail"])
def test_a_damaged_archive_is_named(folder, put, name, damage):
    path = put(name, json_lines(corpus(2000)))
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:half],
            "swapped": whole[:half] + bytes(99) + whole[half + 99 :],
            "not one": b'{"text": ""}\n',
            "tail": whole + b"and more",
        }[damage]
    )
    with pytest.raises(InputError, match=rf"^{name} is damaged or cut off after its line \d.* \("):
        run(folder, name, skip_bad=True)
    assert names(folder) == [name]


# What is refused before anything is read


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("a.txt b.txt ./a.txt -o out", "a.txt and a.txt are one file: name it once"),
        ("a.txt link.txt -o out", "a.txt and link.txt are one file: name it once"),
        ("a.txt -o a.txt", "a.txt is read: name another file to write"),
        ("a.txt -o link.txt", "link.txt is read: name another file to write"),
        ("a.txt -o out --report a.txt", "a.txt is read: name another file to write"),
        ("a.txt -o b.txt", "b.txt is there already: delete it, or name another file"),
        ("a.txt -o out --report b.txt", "b.txt is there already: delete it, or name another file"),
        ("a.txt -o .", ". is a folder: name a new file in it"),
        ("a.txt -o no/out", "there is no folder no: make it first"),
        (
            "a.txt -o out --report ./out",
            "out can't be both the output and the report: name two files",
        ),
        ("a.txt none.txt -o out", "there is no file none.txt"),
        ("a.txt . -o out", ". is a folder: name the files in it"),
        ("a.txt pipe -o out", "pipe can't be read twice, as it must: copy it into a file"),
        (
            "a.txt c.jsonl -o out",
            "a.txt and c.jsonl are not of one kind by their names, JSON Lines and plain lines: "
            "run them apart",
        ),
        ("a.txt -o out --threshold 2", "threshold must be between 0 and 1, got 2.0"),
        ("a.txt -o out --ngram 0", "a shingle needs n of at least 1, got 0"),
        ("a.txt -o out --radius 3", "minhash takes no radius, got 3: only simhash has one"),
        ("a.txt -o out --method simhash", "simhash needs a radius, .*"),
        ("a.txt -o out --workers 0", "Invalid value for '--workers': .*; see `toolkit --help`"),
        ("a.txt -o out --method lsh", "Invalid value for '--method': .*; see `toolkit --help`"),
        ("a.txt", r"Missing option '--out' / '-o'; see `toolkit --help`"),
        ("-o out", r"Missing argument 'FILES'; see `toolkit --help`"),
    ],
)
def test_a_mistake_is_one_sentence(folder, put, toolkit, typed, said):
    put("a.txt", [TEXT])
    put("b.txt", ["theirs"])
    put("c.jsonl", [])
    (folder / "link.txt").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    before = names(folder)
    code, err = toolkit(f"dedup {typed}")
    assert code == 2
    assert re.fullmatch(f"toolkit: {said}\n", err), err
    assert names(folder) == before
    assert (folder / "b.txt").read_text() == "theirs\n"


def test_a_file_that_may_not_be_read(folder, put, toolkit, monkeypatch):
    path = put("a.txt", [TEXT])

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    code, err = toolkit("dedup a.txt -o out")
    assert (code, names(folder)) == (2, ["a.txt"])
    assert err.startswith("toolkit: a.txt can't be used (Permission denied): mend that")


def test_no_file_at_all(folder):
    with pytest.raises(InputError, match="there is nothing to read"):
        run(folder)


# Stopping, and going on


def uninterrupted(folder, *paths, **settings):
    """What one run writes, which is then taken away."""
    run(folder, *paths, out="whole", report="whole report", **settings)
    whole = (folder / "whole").read_bytes(), (folder / "whole report").read_bytes()
    (folder / "whole").unlink()
    (folder / "whole report").unlink()
    return whole


@pytest.fixture
def three_files(put):
    texts = corpus()
    lines = json_lines(texts)
    return (
        put("a.jsonl", [*lines[:50], "{"]),
        put("b.jsonl.gz", ["", *lines[50:80]]),
        put("c.jsonl.zst", ["[]", *lines[80:]]),
    )


@pytest.mark.parametrize("call", [1, 5, 10, 17, 25, 33])
def test_a_stopped_run_goes_on_to_the_same_answer(
    folder, three_files, many_blocks, monkeypatch, call
):
    whole = uninterrupted(folder, *three_files, skip_bad=True)
    with pytest.raises(Stopped) as stopped:
        run(folder, *three_files, report="r", skip_bad=True, stop=on_call(call))
    done, at = re.fullmatch(
        r"stopped after (\d+) documents, (line \d+ of \S+): the same command goes on there",
        str(stopped.value),
    ).groups()
    assert names(folder) == ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "out.work"]

    added = []
    add = Work.add

    def noting(self, texts, *rest):
        if not added:
            assert self.inputs.in_words(self.position) == at
        added.extend(texts)
        add(self, texts, *rest)

    monkeypatch.setattr(Work, "add", noting)
    run(folder, *three_files, report="r", skip_bad=True)
    assert int(done) + len(added) == 120
    assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole
    assert names(folder) == ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "out", "r"]


def test_a_run_stopped_at_every_block_ends_all_the_same(folder, three_files, many_blocks):
    whole = uninterrupted(folder, *three_files, skip_bad=True)
    for attempts in count(1):
        try:
            run(folder, *three_files, report="r", skip_bad=True, stop=on_call(2))
        except Stopped:
            if attempts > 40:  # the second pass takes more than one look
                run(folder, *three_files, report="r", skip_bad=True)
                break
    assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole


@pytest.mark.parametrize(("call", "share"), [(3, 0.1), (28, 1)])
def test_a_stop_saves_all_that_was_done(folder, put, monkeypatch, call, share):
    monkeypatch.setattr(streaming, "BLOCK", 1000)
    monkeypatch.setattr(streaming, "LINES", 10)
    path = put("a.txt", corpus())
    with pytest.raises(Stopped) as stopped:
        run(folder, path, stop=on_call(call))
    work = DedupIndex.open(folder / "out.work" / "index")
    assert f"after {work.documents} documents" in str(stopped.value)
    assert work.documents >= share * 120
    work.close()


def test_a_failure_at_the_very_end_costs_little(folder, put, monkeypatch):
    path = put("a.txt", corpus())
    with monkeypatch.context() as broken:
        broken.setattr("os.rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(folder, path)
    assert names(folder) == ["a.txt", "out.work"]
    monkeypatch.setattr(DedupIndex, "add_all", lambda self, texts, workers: texts and 1 / 0)
    assert run(folder, path).documents == 120


CHILD = """
import os, resource, signal, sys
from functools import partial
from itertools import count
from pathlib import Path
from toolkit import cli
from toolkit.data.dedup import stream, work

stream.BLOCK, stream.LINES, work.SAVE_EVERY = 1000, 10, 0
where, number, what = sys.argv[1:4]
calls = count(1)

def armed(function):
    def call(*arguments, **settings):
        if next(calls) == int(number):
            if what == "limit":
                size = os.path.getsize("out.work/index/hashes")
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            else:
                os.kill(os.getpid(), int(what))
        return function(*arguments, **settings)
    return call

owner, name = {
    "add": (work.Work, "add"),
    "save": (work.Work, "save"),
    "flush": (work.DedupIndex, "flush"),
    "text": (stream.Inputs, "text"),
    "named": (stream.Inputs, "named"),
    "publish": (stream, "_publish"),
    "close": (work.Work, "close"),
}[where]
setattr(owner, name, armed(getattr(owner, name)))
sys.argv = ["toolkit", "dedup", *sys.argv[4:]]
cli.main()
"""


def in_a_process(where, number, what, *arguments):
    """Run the command, to which ``what`` is done as it calls something the numberth time."""
    command = [sys.executable, "-c", CHILD, where, str(number), str(what), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


ARGUMENTS = ["-o", "out", "--report", "r", "--skip-bad"]


@pytest.mark.parametrize(
    ("where", "number"), [("flush", 1), ("add", 9), ("flush", 9), ("named", 30), ("close", 1)]
)
def test_a_killed_run_leaves_no_half_file_and_goes_on(folder, three_files, where, number):
    whole = uninterrupted(folder, *three_files, skip_bad=True)
    ended = in_a_process(where, number, int(signal.SIGKILL), *three_files, *ARGUMENTS)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")
    left = set(names(folder)) - {str(path) for path in three_files}
    if where == "close":  # all was done but to tidy up: the output is whole
        assert left == {"out", "out.work", "r"}
        assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole
        (folder / "out").unlink()
        (folder / "r").unlink()
    else:
        assert left == {"out.work"}
    run(folder, *three_files, report="r", skip_bad=True)
    assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole
    assert "out.work" not in names(folder)


@pytest.mark.parametrize(
    ("number", "where", "call"),
    [(signal.SIGINT, "add", 5), (signal.SIGINT, "named", 30), (signal.SIGTERM, "add", 9)],
)
def test_a_polite_signal_is_obeyed_at_the_next_block(folder, three_files, number, where, call):
    whole = uninterrupted(folder, *three_files, skip_bad=True)
    ended = in_a_process(where, call, int(number), *three_files, *ARGUMENTS)
    assert ended.returncode == 128 + number
    assert re.fullmatch(
        r"toolkit: stopped after \d+ documents, line \d+ of \S+: the same command goes on there\n",
        ended.stderr,
    )
    run(folder, *three_files, report="r", skip_bad=True)
    assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole


def test_a_full_disk_is_a_sentence_and_the_run_goes_on(folder, three_files):
    whole = uninterrupted(folder, *three_files, skip_bad=True)
    ended = in_a_process("add", 9, "limit", *three_files, *ARGUMENTS)
    assert ended.returncode == 2
    found = re.fullmatch(
        r"toolkit: the system refused \(File too large\): mend that, then the same command "
        r"goes on after (\d+) documents, line \d+ of \S+\n",
        ended.stderr,
    )
    assert found, ended.stderr
    assert int(found[1]) > 0
    assert "out.work" in names(folder)
    run(folder, *three_files, report="r", skip_bad=True)
    assert ((folder / "out").read_bytes(), (folder / "r").read_bytes()) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 0.7}, "with threshold 0.8, not 0.7"),
        ({"method": "simhash", "radius": 9}, "with method 'minhash', not 'simhash'"),
        ({"field": "body"}, "with field 'text', not 'body'"),
        ({"paths": ["b.jsonl", "a.jsonl"]}, "with other inputs, or one of them has changed since"),
        ({"paths": ["a.jsonl"]}, "with other inputs, or one of them has changed since"),
        ({"longer": "a.jsonl"}, "with other inputs, or one of them has changed since"),
        ({"touched": "b.jsonl"}, "with other inputs, or one of them has changed since"),
    ],
)
def test_other_settings_or_inputs_are_refused(folder, put, many_blocks, change, said):
    lines = json_lines(corpus(), body="")
    put("a.jsonl", lines[:60])
    put("b.jsonl", lines[60:])
    with pytest.raises(Stopped):
        run(folder, "a.jsonl", "b.jsonl", stop=on_call(3))
    if "longer" in change:
        longer = folder / change.pop("longer")
        time = longer.stat().st_mtime_ns
        longer.write_text(longer.read_text() + lines[0])
        os.utime(longer, ns=(time, time))
    if "touched" in change:
        os.utime(change.pop("touched"), ns=(0, 0))
    inputs = Inputs(change.pop("paths", ["a.jsonl", "b.jsonl"]), change.pop("field", "text"))
    inputs = Inputs([folder / path for path in inputs.paths], inputs.field)
    with pytest.raises(InputError) as refused:
        deduplicate_files(inputs, folder / "out", **change)
    work = re.escape(str(folder / "out.work"))
    assert re.fullmatch(f"{work} was begun {said}: delete it to begin anew", str(refused.value))
    assert names(folder) == ["a.jsonl", "b.jsonl", "out.work"]


def test_a_run_that_met_a_bad_line_goes_on_with_skip_bad(folder, put, many_blocks):
    lines = json_lines(corpus())
    path = put("a.jsonl", [*lines[:60], "{", *lines[60:]])
    with pytest.raises(InputError, match=r"^line 61 of a.jsonl is not JSON"):
        run(folder, path)
    assert names(folder) == ["a.jsonl", "out.work"]
    assert run(folder, path, skip_bad=True).bad == 1


def test_a_run_that_passed_over_bad_lines_stops_at_them_without_skip_bad(folder, put, many_blocks):
    lines = json_lines(corpus())
    path = put("a.jsonl", ["{", *lines])
    with pytest.raises(Stopped):
        run(folder, path, skip_bad=True, stop=on_call(3))
    with pytest.raises(InputError, match=r"^line 1 of a.jsonl is not JSON"):
        run(folder, path)


def test_an_input_that_changes_while_it_is_read(folder, put, many_blocks):
    path = put("a.txt", corpus())
    calls = count()

    def append():
        if next(calls) == 20:
            with path.open("a") as file:
                file.write("more\n")
        return False

    with pytest.raises(InputError, match="an input has changed since it was read: delete"):
        run(folder, path, stop=append)
    assert names(folder) == ["a.txt", "out.work"]


def test_a_folder_in_the_way_is_left_alone(folder, put):
    path = put("a.txt", [TEXT])
    (folder / "out.work").mkdir()
    (folder / "out.work" / "thesis").touch()
    with pytest.raises(InputError, match=r"out.work holds other files: move it out of the way"):
        run(folder, path)
    assert names(folder / "out.work") == ["thesis"]


def test_two_runs_can_not_share_a_work_folder(folder, put, many_blocks):
    path = put("a.txt", corpus())
    with pytest.raises(Stopped):
        run(folder, path, stop=on_call(3))
    other = DedupIndex.open(folder / "out.work" / "index")
    with pytest.raises(InputError, match="open in another process"):
        run(folder, path)
    other.close()
    run(folder, path)


# What is shown, and what it takes


def test_progress_is_shown_on_a_terminal_only(folder, put, many_blocks, toolkit, monkeypatch):
    path = put("a.txt", corpus())
    code, err = toolkit("dedup a.txt -o out")
    assert (code, err.count("\n")) == (0, 1)
    with pytest.raises(Stopped):
        run(folder, path, out="resumed", stop=on_call(9))

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "tqdm", partial(progress.tqdm, mininterval=0))
    code, err = toolkit("dedup a.txt -o shown")
    assert code == 0
    for part in ("reading:   0%", "writing:   0%", "documents/s", "B/s"):
        assert part in err
    assert not re.search(r"ing: +[\d.]+k?B", err)  # beyond its end
    code, err = toolkit("dedup a.txt -o resumed")
    assert code == 0
    assert re.search(r"reading: +[1-9]\d%", err)
    assert "reading:   0%" not in err


def test_no_more_than_a_few_blocks_of_lines_are_held(folder, put, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK", 100_000)
    peaks = []
    for documents in (20_000, 80_000):
        path = put(f"{documents}.txt", [TEXT] * documents)
        tracemalloc.start()
        for _ in progress.one_ahead(streaming._blocks(Inputs([path]), Position())):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_command_starts_without_what_it_runs():
    code = "import sys; from toolkit import cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "toolkit.cli" in found.stdout.split()
    assert not {"numba", "numpy", "tqdm", "orjson"} & set(found.stdout.split())
