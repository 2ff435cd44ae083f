"""JupyterLab as `toolkit lab` starts it: its command here, and the real thing in a browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from toolkit import course
from toolkit.classroom.contents import Contents
from toolkit.classroom.jupyter import command, environment, open_lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

    from tests.conftest import JupyterLab

PAGE = """\
---
course:
  question: Does it open?
  minutes: 1
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  name: python3
  display_name: Python 3 (ipykernel)
  language: python
---

# A page

```{code-cell} ipython3
:tags: [q1]

print(6 * 7)
```
"""

README = """\
# Read me

Only *text*, and a command:

```bash
make lab
```
"""


def test_opens_the_notebook_in_the_course(tmp_path: Path) -> None:
    made = command(tmp_path / "workspace" / "data" / "a b.ipynb", tmp_path, None, True)
    assert made[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path}" in made
    assert "--LabApp.default_url=/lab/tree/workspace/data/a%20b.ipynb" in made
    assert not any(".port" in argument for argument in made)


def test_shows_a_notebook_elsewhere_in_its_own_folder(tmp_path: Path) -> None:
    made = command(tmp_path / "mine" / "a.ipynb", tmp_path / "course", 8123, False)
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in made
    assert "--LabApp.default_url=/lab/tree/a.ipynb" in made
    assert "--ServerApp.port=8123" in made


def test_keeps_the_users_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/theirs")
    folders = environment(tmp_path)["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert folders == [str(tmp_path / ".jupyter"), "/theirs"]
    assert environment(tmp_path)["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert environment(tmp_path)["GOMP_SPINCOUNT"] == "7"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(course.CourseError, match=rf"port {port} can't be used .*--port"):
            open_lab(tmp_path / "a.ipynb", tmp_path, port=port, browser=False)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none(tmp_path: Path, port: int) -> None:
    with pytest.raises(course.CourseError, match=f"from 1 to 65535, got {port}"):
        open_lab(tmp_path / "a.ipynb", tmp_path, port=port, browser=False)


def test_what_names_no_kernel_gets_the_courses_and_loses_nothing(tmp_path: Path) -> None:
    header, kernel, rest = PAGE.partition("kernelspec:")
    nameless = header + rest[rest.index("---\n\n") :]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1", id="a")])
    texts = {"page.md": PAGE, "README.md": README, "nameless.md": nameless}
    contents = Contents(root_dir=str(tmp_path))
    saved = {}
    for name, text in {**texts, "a.ipynb": nbformat.writes(notebook)}.items():
        (tmp_path / name).write_text(text)
        content = asyncio.run(contents.get(name, type="notebook"))["content"]
        assert content["metadata"]["kernelspec"]["name"] == "python3"
        content["metadata"]["language_info"] = {"name": "python"}  # as a kernel that has started
        asyncio.run(contents.save({"type": "notebook", "content": content}, name))
        saved[name] = (tmp_path / name).read_text()
    assert (saved["page.md"], saved["README.md"]) == (PAGE, README)
    for part in (header[: header.index("    format_version")], kernel, nameless[-60:]):
        assert part in saved["nameless.md"]


@pytest.fixture
def served(tmp_path: Path, jupyterlab: Callable[..., JupyterLab]) -> tuple[Path, JupyterLab]:
    """A small course in JupyterLab, for a user whose own python3 kernel is broken."""
    root = tmp_path / "course"
    (root / "book" / "data").mkdir(parents=True)
    shutil.copytree(course.root() / ".jupyter", root / ".jupyter")
    (root / "book" / "data" / "page.md").write_text(PAGE)
    (root / "README.md").write_text(README)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1", id="a")])
    nbformat.write(notebook, root / "book" / "start.ipynb")
    kernel = tmp_path / "home" / "data" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    broken = {"argv": ["/nowhere/python"], "display_name": "Broken", "language": "python"}
    kernel.write_text(json.dumps(broken))
    start = command(root / "book" / "start.ipynb", root, None, browser=False)
    return root, jupyterlab(start, environment(root))


def double_click(page: Page, name: str) -> None:
    page.locator(".jp-DirListing-item", has_text=name).dblclick()


def save(page: Page, name: str) -> None:
    """Save the document shown, and wait until the server has written it."""

    def answers(response: Response) -> bool:
        return response.request.method == "PUT" and f"/{name}?" in response.url

    with page.expect_response(answers) as answer:
        page.keyboard.press("Control+s")
    assert answer.value.ok


@pytest.mark.browser
@pytest.mark.slow
def test_pages_open_as_notebooks_and_run(
    chromium: Browser, served: tuple[Path, JupyterLab]
) -> None:
    from playwright.sync_api import expect

    root, lab = served
    page = lab.open(chromium)
    double_click(page, "data")
    double_click(page, "page.md")
    shown = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    expect(shown.locator("h1")).to_contain_text("A page")
    lab.wait_for_kernels(page, 2)
    lab.run_all(page)
    expect(shown.locator(".jp-OutputArea-output")).to_have_text("42\n", timeout=60_000)

    save(page, "page.md")
    assert (root / "book" / "data" / "page.md").read_text() == PAGE, "saving changes nothing"

    page.locator(".jp-BreadCrumbs-home").click()
    double_click(page, "README.md")
    expect(shown.locator("h1")).to_contain_text("Read me")
    lab.wait_for_kernels(page, 3)
    save(page, "README.md")
    assert (root / "README.md").read_text() == README, "and no kernel is noted"
    assert page.locator(".jp-Dialog").all_inner_texts() == []
    assert page.locator(".Toastify__toast").all_inner_texts() == []
    assert lab.hosts <= {"localhost", "127.0.0.1"}
    page.close()
