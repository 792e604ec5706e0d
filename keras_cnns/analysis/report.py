"""One page on a model: what it is, what it says of pictures, and every look inside. It needs no network."""

import base64
import html
import io

import numpy as np

from keras_cnns import _files
from keras_cnns.analysis.accounting import account
from keras_cnns.analysis.fields import receptive_fields
from keras_cnns.analysis.kinds import KINDS

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; font-size: 13px } td, th { padding: 2px 10px; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
td:nth-child(2), th:nth-child(2) { text-align: left }
img { max-width: 100% } .pictures { display: flex; flex-wrap: wrap; gap: 14px }
figure { margin: 0; width: 150px; font-size: 13px }
figure img { width: 150px; image-rendering: pixelated } .skipped { color: #666 } summary { cursor: pointer }
"""


def write_report(path, model, pictures, probabilities, class_names, shown, title):
    """Write one self-contained HTML page.

    Args:
        path: file to write.
        model: the `keras.Model`.
        pictures: `Pictures`, of which the first are shown with their predictions.
        probabilities: float array (pictures, classes).
        class_names: in order.
        shown: from a kind of `KINDS` to (PNG file or None, sentence): what was drawn, or why it was not.
        title: of the page.

    Raises:
        OutputError: if it cannot be written.
    """
    shape = pictures.images.shape[1:]
    found, fields = account(model, shape), receptive_fields(model, shape)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{found.trainable:,} trained parameters, {found.macs / 1e6:,.1f} M multiply-adds for one picture of "
        f"{'x'.join(map(str, shape))}.</p>",
        "<h2>Pictures and predictions</h2>",
        f'<div class="pictures">{"".join(_figures(pictures, probabilities, class_names))}</div>',
    ]
    for kind, (file, sentence) in shown.items():
        parts.append(f"<h2>{kind}</h2><p>{html.escape(KINDS[kind].shows)}</p>")
        if file is None:
            parts.append(f'<p class="skipped">Not drawn: {html.escape(sentence)}</p>')
        else:
            with open(file, "rb") as png:
                parts.append(f"<p>{html.escape(sentence)}</p>{_image(png.read(), kind)}")
    parts.append(
        f"<h2>Layers</h2><details><summary>{len(found.rows)} layers</summary>{_table(found, fields)}</details>"
    )
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with _files.writing(path) as temporary:
        temporary.write_text(page, "utf8")


def _figures(pictures, probabilities, class_names, count=12, top=3):
    from PIL import Image

    for pixels, name, row in zip(pictures.pixels[:count], pictures.names, probabilities, strict=False):
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        best = np.argsort(-row, kind="stable")[:top]
        said = "<br>".join(f"{html.escape(class_names[k])} {row[k]:.1%}" for k in best)
        picture = _image(file.getvalue(), name)
        yield f"<figure>{picture}<figcaption><b>{html.escape(name)}</b><br>{said}</figcaption></figure>"


def _table(found, fields):
    headings = ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field")
    rows = ["".join(f"<th>{heading}</th>" for heading in headings)]
    for row, field in zip(found.rows, fields, strict=True):
        cells = (
            row.layer,
            row.kind,
            "x".join(map(str, row.output_shape)),
            f"{row.trainable + row.fixed:,}" if row.trainable + row.fixed else "",
            "not counted" if row.macs is None else f"{row.macs:,}" if row.macs else "",
            "" if field is None else "x".join(map(str, field.size)),
        )
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _image(png, text):
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
