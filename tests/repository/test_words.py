"""What the files of the repository say: commands that exist, nothing of one machine, links."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from toolkit import course
from toolkit.cli import app

ROOT = course.root()
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def tracked() -> list[Path]:
    """The repository's files: those git knows of or would take."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def mentions(pattern: str) -> list[str]:
    """Where text matches a pattern, as FILE:LINE: MATCH; this file, which lists them, apart."""
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    return found


def test_no_file_names_a_package_index() -> None:
    hosts = r"pypi\.org|pythonhosted|npmjs|download\.pytorch|anaconda\.(?:org|com)|yarnpkg"
    assert mentions(rf"[\w.-]*(?:{hosts})[\w./-]*") == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert mentions(r"(?<![\w.}])/(?:work|root|home/\w+|Users/\w+|opt/(?:pypi|wheels))\b\S*") == []


def test_only_ci_looks_beside_the_checkout() -> None:
    assert {found.split(":")[0] for found in mentions(r"\.\./shared")} <= {".ci/run"}


def test_no_script_style_or_font_is_asked_of_another_host() -> None:
    hosts = r"jsdelivr|unpkg|cdnjs|esm\.sh|fonts\.(?:googleapis|gstatic)|cdn\.\w+"
    files = (".css", ".js", ".html", ".md", ".ipynb", ".py")
    found = mentions(rf"https?://[\w.-]*(?:{hosts})")
    assert [text for text in found if text.split(":")[0].endswith(files)] == []


def make_targets() -> set[str]:
    return set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_has_its_targets() -> None:
    assert {"lab", "test", "book", "serve", "bench", "lint", "lock", "setup"} <= make_targets()
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert make_targets() == set(re.findall(r"make (\w+)  ", done.stdout))


def test_every_target_sets_up_first() -> None:
    done = subprocess.run(["make", "--dry-run", "lock"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.index("tools/setup.py") < done.stdout.index("tools/lock.py")


def commands(text: str) -> list[tuple[str, str]]:
    """("make" or "toolkit", its first word) for each command in code of a Markdown text."""
    code = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    lines = [line for block in code for line in "".join(block).splitlines()]
    pattern = r"(?:^|[\s/\\=])(make|toolkit) ([a-z][\w-]*)"
    return [match for line in lines for match in re.findall(pattern, line)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_commands_that_exist(document: str) -> None:
    ours = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    known = {"make": make_targets(), "toolkit": ours}
    used = commands((ROOT / document).read_text())
    assert {program for program, _ in used} == {"make", "toolkit"}
    assert [f"{one} {word}" for one, word in used if word not in known[one]] == []


def test_the_readme_names_every_command() -> None:
    used = commands((ROOT / "README.md").read_text())
    ours = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert ours == {word for program, word in used if program == "toolkit"}
    assert make_targets() - {"help", "setup"} == {
        word for program, word in used if program == "make"
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_link_to_files_that_exist(document: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readmes_map_is_of_folders_that_exist() -> None:
    folders = re.findall(r"^\| `(\w+)/` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [name for name in folders if not (ROOT / name).is_dir()] in ([], ["workspace"])


def serve(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "tools" / "serve.py", *arguments],
        env={"PATH": "", "BROWSER": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_serve_gives_the_site_to_this_machine_only(tmp_path: Path) -> None:
    from urllib.request import urlopen

    (tmp_path / "index.html").write_text("the site")
    server = serve(tmp_path)
    try:
        line = server.stdout.readline() if server.stdout else ""
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert url, line
        with urlopen(url[0]) as answer:
            assert answer.read() == b"the site"
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_serve_refuses_what_is_no_port(tmp_path: Path, port: str) -> None:
    _, said = serve(tmp_path, port).communicate()
    assert said == f"serve: a port is a number from 1 to 65535, got {port!r}\n"


@pytest.mark.parametrize("arguments", [[], ["folder", "8000", "more"]])
def test_serve_says_what_it_takes(arguments: list[str]) -> None:
    _, said = serve(*arguments).communicate()
    assert said == "serve: usage: python tools/serve.py FOLDER [PORT]\n"


def test_serve_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    server = serve(tmp_path / "none")
    try:
        _, said = server.communicate(timeout=20)
    finally:
        server.kill()
    assert said == f"serve: there is no folder {tmp_path / 'none'}: `make book` builds the site\n"


def test_serve_says_that_a_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = serve(tmp_path, str(port))
        _, said = server.communicate()
    assert server.returncode == 1
    assert said.startswith(f"serve: port {port} can't be used (Address already in use): give")
    assert said.count("\n") == 1
