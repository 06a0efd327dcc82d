"""Pictures of training and of what was learnt, drawn with Matplotlib, which is imported only when one is drawn."""

from .examples import draw_confusion, draw_image, draw_reconstructions, is_images
from .figure import new_figure, save_figure
from .histories import draw_comparison, draw_gradients, draw_loss, held_out_terms
from .layers import draw_filters, draw_maps
from .rates import draw_rates

__all__ = [
    "draw_comparison",
    "draw_confusion",
    "draw_filters",
    "draw_gradients",
    "draw_image",
    "draw_loss",
    "draw_maps",
    "draw_rates",
    "draw_reconstructions",
    "held_out_terms",
    "is_images",
    "new_figure",
    "save_figure",
]
