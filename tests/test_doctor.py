"""The report names every lack with what it disables, and never fails itself."""

from __future__ import annotations

import shutil
import sys

import pytest

from toolkit import assets, doctor


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ASSETS", str(tmp_path / "cache"))
    monkeypatch.delenv("TOOLKIT_ASSETS_PATH", raising=False)


def by_name() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.findings()}


def test_every_part_is_examined():
    found = by_name()
    wanted = {"Python", "system", "CPU", "memory", "disk", "torch", "GPU", "triton", "numba"}
    wanted |= {"Chromium", "Node"} | {entry.name for entry in assets.entries()}
    assert set(found) == wanted
    assert found["torch"].state == found["numba"].state == "ok"
    for finding in found.values():
        assert finding.value
        assert finding.state == "ok" or (finding.disables and finding.remedy)


def test_an_absent_asset_says_what_it_disables_and_how_to_get_it(capsys):
    assert by_name()["license-texts"].state == "absent"
    doctor.doctor()
    lines = capsys.readouterr().out.splitlines()
    assert (
        "license-texts is absent, which disables the chapter and lab data/dedup, and the tests: "
        "run `toolkit assets get license-texts` (27 MB)"
    ) in lines


def test_a_damaged_asset_is_called_so(tmp_path):
    (tmp_path / "cache" / "license-texts").mkdir(parents=True)
    sentence = by_name()["license-texts"].sentence
    assert sentence.startswith("license-texts is damaged, which disables the chapter")


def test_what_is_absent_does_not_fail_but_what_is_missing_does(monkeypatch):
    assert doctor.doctor() == 0
    monkeypatch.setitem(sys.modules, "numba", None)
    assert by_name()["numba"].state == "missing"
    assert doctor.doctor() == 1


@pytest.mark.parametrize("package", ["torch", "triton", "numba"])
def test_an_installed_package_that_does_not_import_is_missing(monkeypatch, package):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setitem(sys.modules, package, None)
    finding = by_name()[package]
    assert finding.state == "missing"
    assert finding.value.startswith("does not import: ")
    assert finding.sentence.startswith(f"{package} does not import, which disables ")


def test_no_browser_and_no_node(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = by_name()
    assert found["Chromium"].state == found["Node"].state == "absent"
    assert "browser tests" in found["Chromium"].disables


@pytest.mark.parametrize(
    "command", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
)
def test_chromium_by_any_of_its_names(monkeypatch, command):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == command else None)
    assert by_name()["Chromium"].value == f"/bin/{command}"


def test_a_disk_that_is_nearly_full(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert by_name()["disk"].sentence.startswith("disk is nearly full, which disables fetching")


def test_a_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Some GPU")
    assert by_name()["GPU"].value.startswith("Some GPU")
    if by_name()["triton"].state == "ok":
        assert by_name()["triton"].value.endswith("on the GPU")


def test_not_on_linux(monkeypatch):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    assert by_name()["triton"].state == "absent"
    assert "devcontainer" in by_name()["triton"].remedy


def test_a_torch_that_does_not_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = by_name()
    assert found["torch"].state == "missing"
    assert "numba" in found


def test_a_probe_that_fails_is_a_finding(monkeypatch):
    def refuse(path):
        raise PermissionError("no answer\nat all")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    finding = by_name()["disk"]
    assert (finding.state, finding.value) == ("missing", "no answer")
    assert finding.sentence == (
        "disk could not be examined (no answer): mend that, then run `toolkit doctor` again"
    )


def test_a_wrong_path_variable_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_ASSETS_PATH", str(tmp_path / "nowhere"))
    finding = by_name()["assets"]
    assert "which is not a folder" in finding.value
    assert finding.sentence == (
        f"assets could not be examined ({finding.value}): "
        "mend that, then run `toolkit doctor` again"
    )


def test_a_piped_report_is_plain_and_unbroken(capsys, tmp_path):
    doctor.doctor()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert str(tmp_path / "cache") in out
