"""Widgets and plots of the chapters' records, in one visual language."""

from toolkit.viz.buckets import Buckets
from toolkit.viz.segmentation import Segmentation
from toolkit.viz.source import Listing, show
from toolkit.viz.speeds import Speeds
from toolkit.viz.style import COLORS, static_files, style, tokens, use_style
from toolkit.viz.widget import Widget

__all__ = [
    "COLORS",
    "Buckets",
    "Listing",
    "Segmentation",
    "Speeds",
    "Widget",
    "show",
    "static_files",
    "style",
    "tokens",
    "use_style",
]
