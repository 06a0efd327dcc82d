"""Recipes: a model, its data and its training by one name. ``tinyae train NAME`` runs one."""

from .recipe import Recipe
from .table import RECIPES, get_recipe

__all__ = ["RECIPES", "Recipe", "get_recipe"]
