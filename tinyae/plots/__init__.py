"""Pictures of training and of what was learnt, drawn with Matplotlib, which is imported only when one is drawn."""

from .anatomy import draw_anatomy
from .anomalies import draw_scores, draw_worst
from .denoising import draw_denoised
from .examples import draw_confusion, draw_image, draw_reconstructions, is_images
from .figure import new_figure, save_figure
from .histories import draw_comparison, draw_gradients, draw_loss, held_out_terms
from .layers import draw_filters, draw_maps
from .maps import draw_code_maps
from .neighbours import draw_neighbours
from .overfitting import draw_overfitting
from .rates import draw_rates
from .surfaces import animate_descent, draw_descent

__all__ = [
    "animate_descent",
    "draw_anatomy",
    "draw_code_maps",
    "draw_comparison",
    "draw_confusion",
    "draw_denoised",
    "draw_descent",
    "draw_filters",
    "draw_gradients",
    "draw_image",
    "draw_loss",
    "draw_maps",
    "draw_neighbours",
    "draw_overfitting",
    "draw_rates",
    "draw_reconstructions",
    "draw_scores",
    "draw_worst",
    "held_out_terms",
    "is_images",
    "new_figure",
    "save_figure",
]
