"""The anatomy of a step as text and as a small page."""

import html as escaping

from .formulas.plain import plain
from .stepper.page import HEIGHT, katex_style, licences, scripts

STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:1rem;color:#222;background:#fff}table{border-collapse:collapse;margin:.5rem 0}
th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}.wide{overflow-x:auto}
th small{display:block;font-weight:normal;white-space:normal;min-width:6em}li{margin:.35rem 0}h1{font-size:1.15rem}h2{font-size:1rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}}"""
SETTING = "for(const e of document.querySelectorAll('[data-tex]'))katex.render(e.dataset.tex,e,{throwOnError:false})"


def title_of(explained):
    """Which weight, which optimizer, which steps."""
    place = f"[{', '.join(map(str, explained.index))}]" if explained.index else ""
    first, last = explained.rows[0].t, explained.rows[-1].t
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    return f"{explained.parameter}{place}, {steps} of {explained.optimizer}"


def heads(columns):
    """(name of a value, its letter, what it is) of a table, from left to right."""
    inner = [(column.name, column.symbol, column.about) for column in columns]
    return [("theta_before", r"\theta", "the weight before"), *inner, ("theta", r"\theta", "the weight after")]


def short_heads(columns):
    """The same as words for a terminal: several columns may have one letter, for it gets another value on the way."""
    more = {"theta_before": " before", "theta": " after", "theta_decayed": " decayed", "g_decayed": " decayed"}
    return [plain(symbol) + more.get(name, "") for name, symbol, _ in heads(columns)]


def cell(row, name, values):
    """A number, with a star where the kernel rounds otherwise than the definition."""
    number = values[name]
    if number is None:
        return "?"
    text = f"{number + 0.0:.3g}" if name == "share" else f"{number + 0.0:.6g}"  # + 0: no minus before a zero
    return text + ("*" if name in row.rounding and values is row.values else "")


def tables(explained):
    """(title, columns, [(t, values, row)]) of the real steps and, if there are some, of the changed ones."""
    yield "", explained.columns, [(row, row.values) for row in explained.rows]
    if explained.switches:
        title = f"The same gradients {explained.switches}, from the same weight at the first recorded step:"
        yield title, explained.changed_columns, [(row, row.changed) for row in explained.rows]


def notes(explained):
    """What has to be said below the tables."""
    found = [f"* {sentence}" for sentence in rounding_notes(explained.rows)]
    if any(value is None for row in explained.rows for value in row.values.values()):
        found.append("?: not known.")
    return found + ([explained.note] if explained.note else [])


def rounding_notes(rows):
    """Where the kernel rounds otherwise than the definition, by name."""
    for name in dict.fromkeys(name for row in rows for name in row.rounding):
        others = [row for row in rows if name in row.rounding]
        most = max(others, key=lambda row: abs(row.rounding[name][1]))
        defined, units = most.rounding[name]
        yield (
            f"{name}: in {len(others)} of {len(rows)} steps the kernel rounds otherwise than the definition, by at most "
            f"{abs(units)} unit{'s' if abs(units) != 1 else ''} in the last place (step {most.t}: {most.values[name]!s}, by the definition {defined!s})."
        )


def text(explained):
    """The tables and the last step for a terminal."""
    lines = [title_of(explained)]
    for title, columns, rows in tables(explained):
        head = ["t", *short_heads(columns)]
        body = [[str(row.t), *(cell(row, name, values) for name, _, _ in heads(columns))] for row, values in rows]
        widths = [max(map(len, column)) for column in zip(head, *body)]
        lines += ["", *([title] if title else [])]
        lines += ["  ".join(part.rjust(width) for part, width in zip(line, widths)) for line in (head, *body)]
        lines += [f"  {plain(column.formula)}   ({column.about})" for column in new_ones(explained, columns) if title]
    abouts = [column.about for column in explained.columns if column.formula]
    lines += ["", *([f"Step {explained.rows[-1].t} with its numbers:"] if abouts else [])]
    lines += [f"  {plain(line)}   ({about})" for line, about in zip(explained.latex(), abouts)]
    return "\n".join([*lines, *notes(explained)])


def new_ones(explained, columns):
    """Those of the changed columns that have another formula."""
    return [column for column in columns if column.formula and column not in explained.columns]


def html(explained):
    """The tables and formulas as one page that needs no network."""
    title = escaping.escape(title_of(explained))
    parts = [f"<h1>{title}</h1>"]
    for said, columns, rows in tables(explained):
        head = "".join(
            f"<th>{tex(symbol)}<small>{escaping.escape(about)}</small></th>" for _, symbol, about in heads(columns)
        )
        body = "".join(
            f"<tr><td>{row.t}</td>{''.join(f'<td>{cell(row, name, values)}</td>' for name, _, _ in heads(columns))}</tr>"
            for row, values in rows
        )
        formulas = "".join(f"<li>{tex(column.formula)}</li>" for column in new_ones(explained, columns) if said)
        parts += [
            f"<h2>{escaping.escape(said)}</h2>" if said else "",
            f'<div class="wide"><table><thead><tr><th>{tex("t")}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>',
            f"<ul>{formulas}</ul>" if formulas else "",
        ]
    lines = "".join(f'<li class="wide">{tex(line)}</li>' for line in explained.latex())
    parts.append(f"<h2>Step {explained.rows[-1].t} with its numbers</h2><ul>{lines}</ul>" if lines else "")
    parts += [f"<p>{escaping.escape(note)}</p>" for note in notes(explained)]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><!--{licences()}--><style>{katex_style()}{STYLE}</style></head><body>{''.join(parts)}"
        f"<script>{scripts()[0]}</script><script>{SETTING}</script></body></html>"
    )


def tex(latex):
    """A formula for KaTeX; without scripts it stands there as plain text."""
    return f'<span data-tex="{escaping.escape(latex, quote=True)}">{escaping.escape(plain(latex))}</span>'


def notebook_html(explained):
    """The page in a frame of its own."""
    page = escaping.escape(html(explained), quote=True)
    height = min(
        HEIGHT, 260 + 32 * (len(explained.rows) * (2 if explained.switches else 1) + 2 * len(explained.columns))
    )
    return (
        f'<iframe title="The anatomy of a step" srcdoc="{page}" sandbox="allow-scripts" loading="lazy" '
        f'style="width: 100%; height: {height}px; border: 1px solid #8888; border-radius: 6px"></iframe>'
    )
