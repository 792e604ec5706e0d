"""One HTML page with a model's predictions and visualizations.

The page is a single file that needs no network.
"""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_cnns import _files
from keras_cnns._text import counted
from keras_cnns.analysis._receptive_field import ReceptiveField, receptive_fields
from keras_cnns.analysis.accounting import Account, account
from keras_cnns.analysis.visualizations import VISUALIZATIONS
from keras_cnns.typing import Path, Probabilities

if TYPE_CHECKING:
    from keras_cnns.analysis._image_set import ImageSet

FIRST = ("cam", "occlusion", "saliency")  # kinds that show where the model looks; all others are folded
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1, h2, figcaption, p { overflow-wrap: anywhere }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc }
details { margin: 1em 0; border-bottom: 1px solid #eee } details div { overflow-x: auto }
summary { font-weight: bold; cursor: pointer }
table { border-collapse: collapse; font-size: 13px } td, th { padding: 2px 10px; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
td:nth-child(2), th:nth-child(2) { text-align: left }
img { max-width: 100% } .plot { overflow-x: auto } .result { color: #666; font-size: 13px }
.images { display: flex; flex-wrap: wrap; gap: 14px }
figure { margin: 0; width: 150px; font-size: 13px } figcaption span { unicode-bidi: isolate }
figure img { width: 150px } .small { image-rendering: pixelated } .skipped { color: #666 }
.wrong img { outline: 3px solid #c00 } .wrong b { color: #c00 }
@media (max-width: 700px) { .plot img { max-width: none; width: 700px } figure, figure img { width: 108px } }
"""


def write_report(
    path: Path,
    model: keras.Model,
    images: "ImageSet",
    probabilities: Probabilities,
    class_names: Sequence[str],
    shown: Mapping[str, tuple[Path | None, str]],
    title: str,
) -> None:
    """Write one self-contained HTML page.

    Args:
        path: file to write.
        model: functional or sequential `keras.Model`.
        images: the first of them are shown with their predictions.
        probabilities: float array (images, classes).
        class_names: one per class.
        shown: from a kind of `VISUALIZATIONS` to its PNG file and a sentence that summarizes it; or to None and the
            reason why it was not drawn.
        title: of the page.

    Raises:
        OutputError: if the page cannot be written.
    """
    shape = images.images.shape[1:]
    cost, fields = account(model, shape), receptive_fields(model, shape)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<h2>What it predicts</h2>",
        _count_correct(images, probabilities),
        f'<div class="images">{"".join(_predictions(images, probabilities, class_names))}</div>',
    ]
    parts += [f"<h2>{VISUALIZATIONS[kind].title}</h2>{_plot(kind, *shown[kind])}" for kind in FIRST if kind in shown]
    parts.append("<h2>Details</h2>")
    for kind, plot in shown.items():
        if kind not in FIRST:
            parts.append(f"<details><summary>{VISUALIZATIONS[kind].title}</summary>{_plot(kind, *plot)}</details>")
    parts.append(
        f"<details><summary>{counted(len(cost.rows), 'layer')}</summary>"
        f"<p>{cost.trainable:,} trained parameters, {cost.macs / 1e6:,.1f} M multiply-adds for one image of "
        f"{'x'.join(map(str, shape))}.</p><div>{_layer_table(cost, fields)}</div></details>"
    )
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with _files.writing(path) as temporary:
        temporary.write_text(page, "utf8")


def _plot(kind: str, file: Path | None, sentence: str) -> str:
    """Return a plot with its description, or why there is none."""
    shows = f"<p>{html.escape(VISUALIZATIONS[kind].shows)}</p>"
    if file is None:
        return f'{shows}<p class="skipped">Not drawn: {html.escape(sentence)}</p>'
    with open(file, "rb") as png:
        plot = f'<div class="plot">{_img_tag(png.read(), VISUALIZATIONS[kind].title)}</div>'
    return f'{shows}{plot}<p class="result">{html.escape(sentence)}</p>'


def _count_correct(images: "ImageSet", probabilities: Probabilities) -> str:
    """Return how many predictions are correct, as a paragraph.

    It is "" if the true classes are unknown.
    """
    if images.labels is None:
        return ""
    count = len(images.labels)
    wrong = int((probabilities.argmax(axis=1) != images.labels).sum())
    marked = " Wrong predictions are marked in red." if wrong else ""
    return f"<p>Predicted correctly: {count - wrong} of {counted(count, 'image')}.{marked}</p>"


def _predictions(
    images: "ImageSet", probabilities: Probabilities, class_names: Sequence[str], count: int = 12, top: int = 3
) -> Iterator[str]:
    """Yield one figure per image with its most probable classes."""
    from PIL import Image

    known = "true class: " if images.labels is not None else ""
    labels = [None] * len(images.pixels) if images.labels is None else images.labels
    for pixels, name, row, label in zip(images.pixels[:count], images.names, probabilities, labels, strict=False):
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        best = np.argsort(-row, kind="stable")[:top]
        first, *others = (f"<span>{html.escape(class_names[k])}</span> {row[k]:.1%}" for k in best)
        caption = "<br>".join([f"<b>{first}</b>", *others, f'<span class="skipped">{known}{html.escape(name)}</span>'])
        image = _img_tag(file.getvalue(), name, small=max(pixels.shape[:2]) < 150)
        mark = ' class="wrong"' if label is not None and best[0] != label else ""
        yield f"<figure{mark}>{image}<figcaption>{caption}</figcaption></figure>"


def _layer_table(cost: Account, fields: Sequence[ReceptiveField | None]) -> str:
    """Return a table with one row per use of a layer."""
    headings = ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field")
    rows = ["".join(f"<th>{heading}</th>" for heading in headings)]
    for row, field in zip(cost.rows, fields, strict=True):
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


def _img_tag(png: bytes, text: str, small: bool = False) -> str:
    """Return an HTML image; a `small` one is enlarged without smoothing."""
    name = ' class="small"' if small else ""
    return f'<img{name} alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
