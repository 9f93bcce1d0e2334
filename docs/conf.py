"""The documentation site: `make docs`.

Its sources are the pages of the repository where they lie, so that relative links between them are
the same in both.
"""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of the examples

project = "skanomaly"
author = copyright = "The skanomaly developers"
release = version = version_of("skanomaly")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*",
    "docs/gallery/**",
    "docs/generated/**",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "dist", "benchmarks/results/*_notes.md"]
templates_path = [str(ROOT / "docs" / "templates")]  # autosummary looks from the root

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4
myst_all_links_external = False

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have them
numpydoc_show_class_members = False  # the template lists them
numpydoc_xref_param_type = False
copybutton_prompt_text = ">>> "

sphinx_gallery_conf = {
    "examples_dirs": "examples/gallery",
    "gallery_dirs": "docs/gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1000,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skanomaly"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skanomaly"},
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def skip_member(app, what, name, obj, skip, options):
    """Leave out what every estimator of scikit-learn and every module of torch has."""
    home = getattr(obj, "__module__", None) or ""
    foreign = home.startswith(("sklearn", "torch")) or name.endswith("_request")
    return True if foreign else None


def setup(app):
    app.connect("autodoc-skip-member", skip_member)
