"""Fetch an asset's file from its source: PyPI through pip, anything else by URL.

pip is asked for one file by name, version and hash, so whatever index, proxy or offline folder
the user has set up for pip applies here too, and no registry is named anywhere.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit.assets.registry import AssetError, Entry


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(entry: Entry, folder: Path) -> Path:
    """Download the entry's file into ``folder``, showing progress on stderr, and verify it.

    Args:
        entry: what to fetch.
        folder: an existing folder; temporary files go there too.
    Returns:
        The verified file.
    Raises:
        AssetError: the source can't be reached, or what it gave has another sha256.
        OSError: the disk is full, or the like.
    """
    path = _fetch_with_pip(entry, folder) if entry.from_pypi else _fetch_url(entry, folder)
    got = sha256_of(path)
    if got != entry.sha256:
        raise _mismatch(entry, got)
    return path


def _mismatch(entry: Entry, got: str | None) -> AssetError:
    given = f"has sha256 {got}" if got else "has another sha256"
    return AssetError(
        f"what {entry.origin} gave for {entry.name} {given}, not {entry.sha256}, so it was "
        f"thrown away: try again, and if it happens again bring the course up to date"
    )


def _unreachable(entry: Entry, reason: str) -> AssetError:
    return AssetError(
        f"{entry.name} could not be fetched from {entry.origin} ({reason}): check the network, or "
        f"put {entry.filename} by hand into a folder listed in TOOLKIT_ASSETS_PATH"
    )


def _fetch_url(entry: Entry, folder: Path) -> Path:
    import pooch
    import requests

    target = folder / entry.filename
    with _progress_bar(entry) as bar:
        download = pooch.HTTPDownloader(progressbar=bar, timeout=30)
        try:
            download(entry.source, str(target), None)
        except requests.HTTPError as error:
            raise _unreachable(entry, str(error).split(" for url")[0]) from error
        except requests.RequestException as error:
            broken_off = isinstance(error, requests.exceptions.ChunkedEncodingError)
            reason = "the answer broke off" if broken_off else "no connection"
            raise _unreachable(entry, reason) from error
    return target


def _fetch_with_pip(entry: Entry, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            f"{entry.name} is fetched with pip, which {sys.executable} lacks: "
            f"run `{sys.executable} -m ensurepip` and try again"
        )
    package = entry.source.split("==")[0]
    is_wheel = entry.filename.endswith(".whl")
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{entry.source} --hash=sha256:{entry.sha256}\n", encoding="utf-8")
    got = folder / "got"
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--no-cache-dir"]
    command += ["--no-deps", "--require-hashes", "--ignore-requires-python"]
    command += ["--only-binary" if is_wheel else "--no-binary", package]
    command += ["--progress-bar", "raw" if _pip_reports_progress() else "off"]
    command += ["--dest", str(got), "--requirement", str(wanted)]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    if not is_wheel:
        command.append("--no-build-isolation")
        environment |= {"PYTHONPATH": _stand_in_for_setuptools(folder), "PIP_USE_PEP517": "1"}
    code, output = _run_showing_progress(command, environment, entry)
    if code == 0:
        return got / entry.filename
    if "[Errno 28]" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "DO NOT MATCH THE HASHES" in output:
        raise _mismatch(entry, next(iter(re.findall(r"Got +([0-9a-f]{64})", output)), None))
    errors = re.findall(r"^ERROR: (.+?)(?: \(from .*)?$", output, re.MULTILINE)
    no_network = "connection broken by" in output
    raise _unreachable(entry, "no connection" if no_network else f"pip: {(errors or ['?'])[-1]}")


def _pip_reports_progress() -> bool:
    return tuple(map(int, version("pip").split(".")[:2])) >= (24, 1)


def _stand_in_for_setuptools(folder: Path) -> str:
    """Lay out ``sdist_metadata.py`` as the package setuptools; return what goes on PYTHONPATH."""
    package = folder / "backend" / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(Path(__file__).with_name("sdist_metadata.py"), package / "build_meta.py")
    return str(package.parent)


def _run_showing_progress(
    command: list[str], environment: dict[str, str], entry: Entry
) -> tuple[int, str]:
    """Run pip; turn its ``Progress DONE of TOTAL`` lines into a bar and return all else."""
    lines = []
    with (
        _progress_bar(entry) as bar,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if progress := re.match(r"Progress (\d+) of", line):
                bar.update(int(progress[1]) - bar.n)
            else:
                lines.append(line)
    return process.returncode, "".join(lines)


def _progress_bar(entry: Entry) -> Any:
    from tqdm.auto import tqdm

    return tqdm(desc=entry.name, total=entry.size, unit="B", unit_scale=True, leave=False)
