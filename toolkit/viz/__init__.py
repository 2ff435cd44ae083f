"""Widgets and plots of the chapters' records, in one visual language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.viz.bits import Bits
    from toolkit.viz.blocks import Blocks
    from toolkit.viz.buckets import Buckets
    from toolkit.viz.heads import Heads
    from toolkit.viz.logit_lens import LogitLens
    from toolkit.viz.radix_tree import RadixTree
    from toolkit.viz.roofline import Roofline
    from toolkit.viz.rotations import Rotations
    from toolkit.viz.segmentation import Segmentation
    from toolkit.viz.tiles import Tiles
    from toolkit.viz.timeline import Timeline

from toolkit.viz.source import Listing, show
from toolkit.viz.speeds import Speeds
from toolkit.viz.style import COLORS, static_files, style, tokens, use_style
from toolkit.viz.widget import Widget

__all__ = [
    "COLORS",
    "Bits",
    "Blocks",
    "Buckets",
    "Heads",
    "Listing",
    "LogitLens",
    "RadixTree",
    "Roofline",
    "Rotations",
    "Segmentation",
    "Speeds",
    "Tiles",
    "Timeline",
    "Widget",
    "show",
    "static_files",
    "style",
    "tokens",
    "use_style",
]

WIDGETS = {
    "Bits": "bits",
    "Blocks": "blocks",
    "Buckets": "buckets",
    "Heads": "heads",
    "LogitLens": "logit_lens",
    "RadixTree": "radix_tree",
    "Roofline": "roofline",
    "Rotations": "rotations",
    "Segmentation": "segmentation",
    "Tiles": "tiles",
    "Timeline": "timeline",
}


def __getattr__(name: str) -> Any:
    """A widget when it is first asked for: each brings its chapter's library, torch among them."""
    if name not in WIDGETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{WIDGETS[name]}"), name)
