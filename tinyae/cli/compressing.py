"""The commands that compress: compress, decompress, rates."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, quiet_option, run_argument

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing OUT.")


@commands.command(short_help="Data as the codes of a run, in a small file.")
@run_argument
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path())
@click.option("--bits", type=int, help="For each number of a code, 1 to 16.  [default: 4]")
@overwrite_option
@kernels_option
@json_option
@quiet_option
def compress(run, source, out, as_json, quiet, **options):
    """Write the codes that RUN has for IN, quantised and entropy-coded, to the file OUT.

    IN is a data set (its test part), a .npy, .npz or .csv file, a folder of images, or one image. The file holds what
    is needed to see that it is whole and that the model is the right one, and the error that it promises; not the
    model.
    """
    from ..runs import compress, report_compression

    return finish(compress(run, source, out, **options), report_compression, as_json, quiet)


@commands.command(short_help="What a file of codes decodes to.")
@run_argument
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@overwrite_option
@kernels_option
@json_option
@quiet_option
def decompress(run, source, out, as_json, quiet, **options):
    """Decode the file IN, which tinyae compress has written with the same RUN, to OUT.

    OUT ends in .npy (all examples) or .png (images, the first 1,024 on a sheet). A file that is cut off, changed, or of
    another model is refused.
    """
    from ..runs import decompress, report_decompression

    return finish(decompress(run, source, out, **options), report_decompression, as_json, quiet)


@commands.command(short_help="Bits against error: runs, PCA, JPEG and PNG; a table, a plot.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@data_option
@click.option("--bits", default="2,3,4,5,6,8", show_default=True, help="Numbers of bits, with commas between them.")
@click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/rates-N.")
@kernels_option
@json_option
@quiet_option
def rates(runs, as_json, quiet, **options):
    """Compress the held-out data of one or more RUNs, or --data, with several numbers of bits, and draw what it costs.

    Beside each run stands PCA with as many components, the same quantiser and the same entropy coder; beside all, for
    images, JPEG and PNG. Sizes are those of real files, errors those of what the files decode to.
    """
    from ..runs import rates, rates_table

    return finish(rates(runs, **options), rates_table, as_json, quiet)
