"""Configuration of the course's site, which ``make book`` builds with Sphinx.

Chapters are executed by myst-nb, once for each state of the code that they import
(``_ext/freshness.py``). Nothing on a built page is fetched from another host: maths is MathML made
while building (``_ext/mathml.py``), widgets and fonts are served from ``_static``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent
sys.path[:0] = [str(BOOK / "_ext"), str(BOOK.parent)]

from freshness import cache_folder  # noqa: E402

project = "LLM Systems by Hand"
author = "unknown"  # Sphinx's word for: print no author
copyright = "Apache-2.0"
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_exercise",
    "sphinx_external_toc",
    "sphinxcontrib.bibtex",
    "cards",
    "citations",
    "library",
    "mathml",
    "notebooks",
    "widgets",
]
exclude_patterns = ["_build", "_ext", "_static", "**.ipynb_checkpoints"]
external_toc_path = "_toc.yml"
use_multitoc_numbering = False
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
# A work cited by two chapters is listed under both.
suppress_warnings = ["bibtex.duplicate_citation", "bibtex.duplicate_label"]
numfig = True

# --- executing pages -------------------------------------------------------------------------
# Kernels inherit these: the library is this checkout's, widgets show themselves as self-contained
# HTML, figures are inline.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(BOOK.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["TOOLKIT_SITE"] = "1"
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
nb_execution_mode = "cache"
nb_execution_cache_path = str(cache_folder(BOOK.parent))
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("html", "text/html", 5)]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# --- the library's reference -----------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_custom_sections = ["Source", "Shapes"]
napoleon_use_ivar = True
napoleon_use_rtype = False

# --- looks -----------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_math_renderer = "mathml"
html_title = project
html_favicon = str(BOOK / "_static" / "favicon.svg")
html_static_path = [str(BOOK / "_static")]
html_extra_path = [str(BOOK.parent / "labs")]  # each beside its chapter's page
html_css_files = [("toolkit/tokens.css", {"priority": 400}), ("course.css", {"priority": 900})]
html_js_files = [("course.js", {"type": "module"})]
html_sidebars = {"index": []}
html_show_copyright = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "home_page_in_toc": True,
    "logo": {
        "text": project,
        "image_light": "_static/favicon.svg",
        "image_dark": "_static/favicon.svg",
    },
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_navbar_depth": 2,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "use_fullscreen_button": False,
    "extra_footer": "<p>LLM Systems by Hand. Text and code under the Apache License 2.0.</p>",
}
