"""A chapter's benchmark, as a module."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from toolkit import course
from toolkit.course import CourseError


def load(chapter: str) -> ModuleType:
    """Import ``benchmarks/PART/NAME.py`` by its path.

    Raises:
        CourseError: no such chapter, no benchmark, one without ``cases()`` or ``PACKAGES``, or a
            package that it needs is not installed.
    """
    path = course.chapter(chapter).benchmark
    if not path.exists():
        raise CourseError(
            f"{chapter} has no benchmark: there is no {path.relative_to(course.root())}"
        )
    spec = importlib.util.spec_from_file_location(f"benchmarks.{chapter.replace('/', '.')}", path)
    if spec is None or spec.loader is None:
        raise CourseError(f"{path.relative_to(course.root())} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks its module up
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise CourseError(
            f"the benchmark of {chapter} needs {error.name}: run `pip install {error.name}`"
        ) from error
    for name in ("PACKAGES", "cases"):
        if not hasattr(module, name):
            raise CourseError(
                f"{path.relative_to(course.root())} has no {name}: "
                "a benchmark defines PACKAGES and cases()"
            )
    return module
