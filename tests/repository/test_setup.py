"""tools/setup.py: what it makes, when it does nothing, and what it says when it can't.

It is run for real, on a project so small that pip needs no package for it.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

BACKEND = """
    import base64, hashlib, zipfile

    NAME = "toy-1.0.dist-info"
    DEPENDENCIES = {dependencies!r}

    def metadata():
        lines = ["Metadata-Version: 2.1", "Name: toy", "Version: 1.0", "Provides-Extra: dev"]
        return "\\n".join(lines + ["Requires-Dist: " + name for name in DEPENDENCIES]) + "\\n"

    def prepare_metadata_for_build_editable(folder, settings=None):
        import os
        os.makedirs(os.path.join(folder, NAME))
        with open(os.path.join(folder, NAME, "METADATA"), "w") as file:
            file.write(metadata())
        return NAME

    def build_editable(folder, settings=None, metadata_directory=None):
        import os, time
        if os.path.exists("slow"):
            open("building", "w").close()
            time.sleep(100)
        wheel = "toy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(folder + "/" + wheel, "w") as archive:
            archive.writestr("toy.py", "ANSWER = 42\\n")
            if os.path.exists("broken"):
                archive.writestr("n" * 300 + ".py", "a name too long for any disk")
            archive.writestr(NAME + "/METADATA", metadata())
            tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
            archive.writestr(NAME + "/WHEEL", tags)
            archive.writestr(NAME + "/RECORD", "")
        return wheel
"""


class Project:
    """A folder with tools/setup.py and a project that installs in a second."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tools").mkdir(parents=True)
        shutil.copy(TOOLS / "setup.py", root / "tools")
        self.depend_on()
        (root / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        (root / "constraints.txt").write_text("")
        self.python = root / ".venv" / "bin" / "python"
        self.stamp = root / ".venv" / "setup.stamp"
        self.running = root / ".venv" / "setup.running"

    def depend_on(self, *dependencies: str) -> None:
        backend = textwrap.dedent(BACKEND).format(dependencies=list(dependencies))
        (self.root / "backend.py").write_text(backend)

    def setup(
        self, *arguments: str, python: str = sys.executable, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
        settings = {key: value for key, value in {**offline, **variables}.items() if value}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        return subprocess.run(
            [python, str(self.root / "tools" / "setup.py"), *arguments],
            env={**kept, **settings},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def whole_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``.venv`` with pip in it, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("whole") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def with_venv(project: Project, whole_venv: Path) -> Project:
    """A project whose ``.venv`` somebody made by hand: pip is all that is left to run."""
    shutil.copytree(whole_venv, project.root / ".venv", symlinks=True)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "course")


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed setup says: exactly one line, and no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("setup: ")
    return lines[0]


def interpreter(folder: Path, script: str, name: str = "python3.11") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_makes_a_venv_then_does_nothing_until_something_changes(project: Project) -> None:
    first = project.setup()
    assert first.returncode == 0, first.stderr
    assert "Installed in" in first.stdout
    answer = subprocess.run([project.python, "-c", "import toy; print(toy.ANSWER)"], stdout=-1)
    assert answer.stdout == b"42\n"
    assert not project.running.exists()

    again = project.setup(PATH="")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    (project.root / "constraints.txt").write_text("# changed\n")
    (project.root / ".venv" / "mine").touch()
    third = project.setup()
    assert "Installed in" in third.stdout
    assert (project.root / ".venv" / "mine").exists(), "an upgrade keeps the folder"


def empty_venv(project: Project) -> Path:
    """A ``.venv`` without pip, which can't be gone on with: only making it again helps."""
    folder = project.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (folder / "half").touch()
    return folder


def test_makes_an_interrupted_setup_again(project: Project) -> None:
    folder = empty_venv(project)
    project.running.touch()
    done = project.setup()
    assert done.returncode == 0, done.stderr
    assert not (folder / "half").exists()
    assert project.stamp.exists()
    assert not project.running.exists()


def test_control_c_leaves_a_setup_that_is_made_again(with_venv: Project) -> None:
    (with_venv.root / "slow").touch()
    running = subprocess.Popen(
        [sys.executable, str(with_venv.root / "tools" / "setup.py")],
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background job would hand down a Control-C that is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (with_venv.root / "building").exists():
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert said == "setup: interrupted; run the same command again to go on\n"
    assert with_venv.running.exists()
    assert not with_venv.stamp.exists()


def test_a_failure_while_unpacking_says_where_to_look_and_is_made_again(with_venv: Project) -> None:
    (with_venv.root / "broken").touch()
    said = sentence(with_venv.setup())
    assert "File name too long" in said
    assert ".venv/setup.log" in said
    assert with_venv.running.exists()


def test_two_at_once_take_turns(with_venv: Project) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: with_venv.setup(), range(2)))
    assert [done.returncode for done in both] == [0, 0]
    assert "".join(done.stdout for done in both).count("Installed in") == 1


@pytest.mark.slow
def test_makes_again_what_was_moved(project: Project) -> None:
    folder = empty_venv(project)
    project.stamp.write_text("/elsewhere\n0123\n")
    done = project.setup()
    assert done.returncode == 0, done.stderr
    assert not (folder / "half").exists()


@pytest.mark.slow
def test_makes_again_what_lost_its_python(project: Project) -> None:
    folder = empty_venv(project)
    project.python.unlink()
    project.python.symlink_to("/nowhere/python3")
    done = project.setup()
    assert done.returncode == 0, done.stderr
    assert not (folder / "half").exists()


def test_no_python_that_is_new_enough(project: Project, tmp_path: Path) -> None:
    old = interpreter(tmp_path / "bin", "echo 3 8", "python3")
    code = f"""
import importlib.util, sys
sys._base_executable = {str(old)!r}
spec = importlib.util.spec_from_file_location("setup", {str(TOOLS / "setup.py")!r})
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)
try:
    print(setup.find_python())
except setup.SetupError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert f"{old} is 3.8" in done.stdout, done.stderr
    assert "Python 3.11 or newer is needed" in done.stdout
    assert "install it" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
def test_runs_on_an_old_python_to_find_a_newer_one(project: Project) -> None:
    source = (TOOLS / "setup.py").read_text()
    ast.parse(source, feature_version=(3, 8))
    old = next(Path.home().glob(".pyenv/versions/3.8.*/bin/python"), None)
    if old is None:
        pytest.skip("no Python 3.8 here to run it with")
    folder = interpreter(project.root / "bin", f'exec {sys.executable} "$@"').parent
    done = project.setup(python=str(old), PATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert f"with {folder}/python3.11" in done.stdout


def test_no_venv_module_as_on_debian(project: Project, tmp_path: Path) -> None:
    words = "The virtual environment was not created because ensurepip is not available."
    script = f'[ "$2" = venv ] && {{ mkdir -p "$4"; echo "{words}"; exit 1; }}\nexec "$REAL" "$@"'
    broken = interpreter(tmp_path / "bin", script)
    code = (
        "import sys, runpy; sys._base_executable = sys.argv.pop(1); sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(broken), str(project.root / "tools" / "setup.py")],
        env={**os.environ, "REAL": sys.executable},
        capture_output=True,
        text=True,
    )
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"sudo apt install python{version}-venv" in sentence(done)
    assert not (project.root / ".venv").exists(), "nothing half-made is left"


def test_no_network(with_venv: Project) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with_venv.depend_on("numpy")
    index = f"http://127.0.0.1:{port}/simple"
    done = with_venv.setup(PIP_NO_INDEX="", PIP_INDEX_URL=index, PIP_RETRIES="1")
    assert "could not reach its package index: connect to the network" in sentence(done)
    assert "refused" in (with_venv.root / ".venv" / "setup.log").read_text()
    assert not with_venv.stamp.exists()
    with_venv.depend_on()
    assert with_venv.setup().returncode == 0, "it goes on once the network is there"


def test_no_build_for_this_machine(with_venv: Project) -> None:
    with_venv.depend_on("torch-of-another-platform")
    said = sentence(with_venv.setup())
    assert "there is no torch-of-another-platform for Python 3." in said
    assert "devcontainer" in said


def test_constraints_bind_unless_the_newest_are_asked_for(with_venv: Project) -> None:
    (with_venv.root / "constraints.txt").write_text("toy==2.0\n")
    assert "toy" in sentence(with_venv.setup())
    newest = with_venv.setup("--newest")
    assert newest.returncode == 0, newest.stderr
    assert not with_venv.stamp.exists(), "the next plain setup goes back to constraints.txt"


def test_the_newest_over_a_finished_setup_are_not_taken_for_the_constraints(
    with_venv: Project,
) -> None:
    assert with_venv.setup().returncode == 0
    assert with_venv.setup().stdout == ""
    assert with_venv.setup("--newest").returncode == 0
    assert "Installed in" in with_venv.setup().stdout


def test_the_newest_that_can_not_be_had_leave_a_finished_setup_finished(with_venv: Project) -> None:
    assert with_venv.setup().returncode == 0
    with_venv.depend_on("torch-of-another-platform")
    sentence(with_venv.setup("--newest"))
    assert with_venv.setup().stdout == "", "pip had touched nothing"


def test_what_was_interrupted_is_not_finished_whatever_the_stamp_says(with_venv: Project) -> None:
    assert with_venv.setup().returncode == 0
    with_venv.running.touch()
    assert "Making" in with_venv.setup().stdout


def test_refuses_unknown_options(project: Project) -> None:
    assert "usage:" in sentence(project.setup("--newset"))


@pytest.mark.parametrize(
    ("system", "machine", "is_64_bit", "fits"),
    [
        ("Linux", "x86_64", True, True),
        ("Linux", "aarch64", True, True),
        ("Darwin", "arm64", True, True),
        ("Windows", "AMD64", True, True),
        ("Darwin", "x86_64", True, False),
        ("Linux", "i686", False, False),
        ("Windows", "AMD64", False, False),
        ("FreeBSD", "amd64", True, False),
    ],
)
def test_wrong_platform(system: str, machine: str, is_64_bit: bool, fits: bool) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import setup;"
        f"print(setup.platform_problem({system!r}, {machine!r}, {is_64_bit}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    problem = done.stdout.strip()
    assert (problem == "None") == fits
    if not fits:
        assert problem.startswith(f"torch has no build for {system} on {machine}")


@pytest.mark.parametrize(
    ("system", "machine", "variable", "build"),
    [
        ("Linux", "x86_64", "", "CUDA"),
        ("Linux", "x86_64", "PIP_INDEX_URL", "CPU"),
        ("Linux", "x86_64", "PIP_EXTRA_INDEX_URL", "CPU"),
        ("Linux", "x86_64", "PIP_FIND_LINKS", "CPU"),
        ("Linux", "aarch64", "", "CPU"),
        ("Darwin", "arm64", "", "CPU"),
    ],
)
def test_the_cuda_build_needs_more_disk(
    system: str, machine: str, variable: str, build: str
) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import setup;"
        f"print(setup.needed_gb({system!r}, {machine!r}), setup.{build}_GB)"
        "; assert setup.CPU_GB < setup.CUDA_GB"
    )
    chosen = {variable: "somewhere"} if variable else {}
    done = subprocess.run([sys.executable, "-c", code], env=chosen, capture_output=True, text=True)
    needed, expected = done.stdout.split() or [done.stderr, ""]
    assert needed == expected


def small_disk(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root of a namespace of its own, where it may mount small disks."""
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], stderr=-3).returncode:
        pytest.skip("this machine allows no user namespaces, so no small disk can be mounted")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return subprocess.run([*own, script], env=kept, capture_output=True, text=True, timeout=120)


def test_no_disk_to_begin_with(project: Project) -> None:
    done = small_disk(
        f"cp -r {project.root} {project.root}.copy; mount -t tmpfs -o size=8m none {project.root};"
        f"cp -r {project.root}.copy/. {project.root};"
        f"exec {sys.executable} {project.root}/tools/setup.py"
    )
    said = sentence(done)
    assert re.search(r"too little disk: setting up needs about \d+ GB", said)
    assert "0.0 GB are free" in said


def test_disk_full_on_the_way(with_venv: Project, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    done = small_disk(
        f"mount -t tmpfs -o size=4k none {small}; export TMPDIR={small} PIP_NO_INDEX=1;"
        f"exec {sys.executable} {with_venv.root}/tools/setup.py"
    )
    assert "too little disk" in sentence(done)
    assert "TMPDIR" in done.stderr
