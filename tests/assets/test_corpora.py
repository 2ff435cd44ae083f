"""The corpora against YAML and the archives themselves."""

from __future__ import annotations

import re
import zipfile

import pytest
import yaml

from toolkit import assets
from toolkit.assets import corpora


@pytest.fixture(scope="module")
def license_texts() -> assets.Texts:
    return assets.texts("license-texts")


def test_every_licence_text_is_there(license_texts):
    texts, labels = license_texts.texts, license_texts.labels
    assert len(texts) == len(labels) == 37_169
    assert len(set(labels) - {""}) == 3_451
    assert labels.count("") == 1_228
    assert sum(len(text.split()) >= 20 for text in texts) == 14_445


def test_texts_and_labels_are_those_of_the_archive(license_texts):
    """Every 50th file, and each whose label YAML folds over several lines."""
    paths = re.compile(r"licensedcode/data/(licenses/[^/]*\.LICENSE|rules/[^/]*\.RULE)")
    with zipfile.ZipFile(assets.get("license-texts")) as wheel:
        names = sorted(filter(paths.fullmatch, wheel.namelist()))
        folded = [i for i, label in enumerate(license_texts.labels) if len(label) > 75]
        assert len(folded) > 20
        for i in {*range(0, len(names), 50), *folded}:
            content = wheel.read(names[i]).decode().replace("\r\n", "\n")
            _, front_matter, text = re.split(r"^---\n|^---$\n?", content, maxsplit=2, flags=re.M)
            fields = yaml.safe_load(front_matter)
            label = fields.get("license_expression", fields.get("key", ""))
            assert (license_texts.texts[i], license_texts.labels[i]) == (text, label), names[i]


def test_chinese_reviews():
    if assets.status("chinese-reviews").path is None:
        pytest.skip("run `toolkit assets get chinese-reviews` first")
    reviews = assets.texts("chinese-reviews")
    assert reviews.labels == ["neg"] * 18_575 + ["pos"] * 16_548
    lines = (assets.get("chinese-reviews") / "pos.txt").read_text(encoding="utf-8").splitlines()
    assert reviews.texts[18_575:] == lines


def test_what_is_not_a_corpus_is_refused():
    with pytest.raises(assets.AssetError, match="there are: license-texts, chinese-reviews"):
        assets.texts("minilm-l6-v2")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_cut_out_right(tmp_path, method):
    files = {f"d/{i}.txt": b"content " * i for i in (3, 0, 1, 2)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for name, content in {**files, "other": b"not kept"}.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.extra = method, b"\x99\x99\x02\x00ab"
            archive.writestr(info, content)
    members = corpora._zip_members(tmp_path / "a.zip", re.compile(r"d/.*"))
    assert list(members) == sorted(files.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"---\nkey: x\n---\n\xff", r"x\.LICENSE is not UTF-8 at byte 15"),
        (b"no front matter", r"x\.LICENSE of license-texts has no front matter"),
    ],
)
def test_a_bad_licence_text_is_said(tmp_path, monkeypatch, content, message):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("licensedcode/data/licenses/x.LICENSE", content)
    monkeypatch.setattr(corpora, "get", lambda entry: tmp_path / "a.whl")
    with pytest.raises(assets.AssetError, match=message):
        assets.texts("license-texts")


def test_odd_licence_texts(tmp_path, monkeypatch):
    files = {
        "licenses/a.LICENSE": b"---\r\nkey: a\r\n---\r\n\r\nline\r\n",
        "licenses/b.LICENSE": b"---\nkey: b\n---",
        "rules/c.RULE": b"---\nx: x\nlicense_expression: c AND\n  d\nx: y\n---\nkey: no\n---\n",
        "rules/e.RULE": b"---\nis_false_positive: yes\n---\ntext",
        "inactive/rules/f.RULE": b"not kept",
    }
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"licensedcode/data/{name}", content)
    monkeypatch.setattr(corpora, "get", lambda entry: tmp_path / "a.whl")
    corpus = assets.texts("license-texts")
    assert corpus.texts == ["\nline\n", "", "key: no\n---\n", "text"]
    assert corpus.labels == ["a", "b", "c AND d", ""]
