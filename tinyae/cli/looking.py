"""The commands that look into the space of codes: map, search."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, labels_option, run_argument
