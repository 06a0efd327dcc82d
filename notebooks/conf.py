"""The documentation as one site: README, course and the source beside the maths.

    sphinx-build -b html notebooks site

It runs every notebook, and an error in one stops it. What it writes opens without a network: open site/index.html. Formulas
are drawn by the KaTeX that comes with tinyae.
"""

import html
import json
import subprocess
import sys
from pathlib import Path

import tinyae

ASSETS = Path(tinyae.__file__).parent / "explain"

project = html_title = "tinyae"
version = release = tinyae.__version__
extensions = ["myst_nb"]
exclude_patterns = ["**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
html_theme = "furo"
html_static_path = [str(ASSETS / "assets" / "katex"), str(ASSETS / "reading" / "formulas.js")]
html_css_files = ["katex.min.css"]
html_js_files = ["katex.min.js", "formulas.js"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_math_renderer = "tinyae"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_update_mathjax = False  # it would come from a network; so would the scripts of widgets
nb_ipywidgets_js = {}
nb_execution_mode = "force"
nb_execution_timeout = 120  # seconds, for a cell
nb_execution_raise_on_error = True
nb_merge_streams = True
# in a process of its own: Sphinx changes what docutils makes of a docstring
READ = "import sys; from tinyae.cli import main; sys.exit(main())"


def setup(app):
    """Formulas as elements of the class ``tex``, which formulas.js draws; at the end, the pages and the times."""
    app.add_html_math_renderer("tinyae", (inline, None), (display, None))
    app.connect("build-finished", finish)


def inline(writer, node):
    """A formula in a line."""
    write(writer, node.astext(), "span", "tex")


def display(writer, node):
    """A formula of its own."""
    latex = node.astext()
    if r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    write(writer, latex, "div", "tex display")


def write(writer, latex, tag, kind):
    """An element with LaTeX in it."""
    from docutils.nodes import SkipNode

    writer.body.append(f'<{tag} class="{kind}">{html.escape(latex)}</{tag}>')
    raise SkipNode


def finish(app, error):
    """Write the pages of ``tinyae read`` into the site, and say how long each notebook ran: ``seconds.json``."""
    if error or app.builder.name != "html":
        return
    options = ["--out", str(Path(app.outdir) / "read"), "--overwrite", "--home", "../index.html"]
    subprocess.run([sys.executable, "-c", READ, "read", *options], check=True)
    known = getattr(app.env, "nb_metadata", {})
    seconds = {name: known[name]["exec_data"]["runtime"] for name in sorted(known) if "exec_data" in known[name]}
    (Path(app.outdir) / "seconds.json").write_text(json.dumps(seconds, indent=2))
    for name, time in seconds.items():
        print(f"{time:6.1f} s  {name}")
    print(f"{sum(seconds.values()):6.1f} s  all {len(seconds)}")
