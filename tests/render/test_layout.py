"""Texts in all plots can be read, for names of any kind."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from keras_cnns import _render
from keras_cnns._render import _labels
from keras_cnns._text import counted

NAMES = {
    "short": ["cat", "dog", "eel"],
    "long": [
        "Braunkehlchen-Weibchen",
        "common_kingfisher",
        "a class name of forty letters, no less!",
        "Rhinoceros_sondaicus_annamiticus_juvenil",
    ],
    "german": ["Großer Brachvogel", "Übergröße", "Fußgängerüberweg"],
    "scripts": ["かわいい猫と犬の写真", "中华人民共和国国徽", "قطة صغيرة جدا", "고양이"],
    "emoji": ["😀 smile", "🐕🐈🦜 animals", "👩‍👩‍👧 family"],
    "empty": ["", " ", "\u200d"],
    "signs": ["$x_1$ and $y^2$", "_hidden", "C:\\temp\\new", "line\nfeed", "%d{}<b>"],
}
RANDOM = np.random.default_rng(0)


def names_of(kind, count):
    """Return `count` names of a kind, all different except empty ones."""
    return [f"{name}{k // len(NAMES[kind]) or ''}" for k, name in zip(range(count), itertools.cycle(NAMES[kind]))]


def probabilities(count, classes):
    scores = RANDOM.uniform(size=(count, classes)) ** 8 + 1e-9
    return scores / scores.sum(1, keepdims=True)


def title_of(names):
    return f"runs/{names[0]}/model.keras on test of {names[-1]}, center: top-1 98.33 %, top-5 100.00 %, loss 0.0679"


def random_pixels(count, channels=3):
    return RANDOM.integers(0, 255, (count, 16, 16, channels), "uint8")


def prediction_grid(path, names):
    few = min(len(names), 20)
    labels = RANDOM.integers(0, len(names), few)
    _render.prediction_grid(random_pixels(few), labels, probabilities(few, len(names)), names, path, title_of(names))


def image_grid(path, names):
    _render.image_grid(random_pixels(len(names), 1), names, path, title_of(names))


def class_map_grid(path, names):
    few = min(len(names), 12)
    texts = [[(f"{name}.jpeg", ""), (name, f": {-123.4 * k:.1f}")] for k, name in enumerate(names[:few])]
    maps = RANDOM.normal(size=(few, 16, 16))
    _render.class_map_grid(random_pixels(few), maps, texts, path, title_of(names), "evidence; mean + bias = logit")


def occlusion_grid(path, names):
    few = min(len(names), 4)
    starts = np.arange(0, 12, 2)
    scores, predictions = RANDOM.uniform(size=(few, 6, 6)), RANDOM.integers(0, len(names), (few, 6, 6))
    found = SimpleNamespace(
        **{"scores": scores, "predictions": predictions, "targets": np.arange(few), "unoccluded": scores[:, 0, 0]},
        **{"tops": starts, "lefts": starts, "size": (4, 4), "image_size": (16, 16)},
    )
    _render.occlusion_grid(random_pixels(few), found, names, path, title_of(names))


def feature_map_grid(path, names):
    _render.feature_map_grid(RANDOM.normal(size=(12, 12, len(names))), path, title_of(names))


def filter_grid(path, names, channels=3):
    _render.filter_grid(RANDOM.normal(size=(len(names), 5, 5, channels)), path, title_of(names))


def filter_grid_of_channels(path, names):
    filter_grid(path, names, 20)


def confusion_matrix(path, names):
    counts = RANDOM.integers(0, 3 if len(names) > 10 else 20_000, (len(names), len(names)))
    _render.confusion_matrix(counts, names, path, title_of(names))


def mask_grid(path, names):
    sizes = ((20, 30), (30, 20), (16, 16))
    images = [RANDOM.integers(0, 256, (*size, 3)).astype("uint8") for size in sizes]
    masks, predicted = ([RANDOM.integers(0, len(names), size).astype("uint8") for size in sizes] for _ in range(2))
    masks[0][0, 0] = 255
    colors = RANDOM.integers(0, 256, (len(names), 3)).astype("uint8")
    _render.mask_grid(images, masks, predicted, names, colors, path, title_of(names))


def box_grid(path, names):
    images = [RANDOM.integers(0, 256, (*size, 3)).astype("uint8") for size in ((20, 30), (30, 20))]
    boxes = np.array([[2, 3, 10, 12], [0, 0, 20, 20], [5, 5, 5.2, 9]])
    objects, found = ([(boxes, RANDOM.integers(0, len(names), 3)) for _ in images] for _ in range(2))
    _render.box_grid(images, objects, found, names, path, title_of(names))


def precision_recall(path, names):
    curves = {name: np.sort(RANDOM.uniform(size=101))[::-1] for name in names}
    _render.precision_recall(curves, path, title_of(names))


def reliability(path, names):
    parts = np.linspace(0.02, 1, len(names))
    bins = [SimpleNamespace(examples=int(10**5 * part**5) + 1, confidence=part, accuracy=part**2) for part in parts]
    _render.reliability(bins, 0.1234, path, title_of(names))


def robustness_curves(path, names):
    corrupted = {name: np.linspace(0.9, 0.1 * k, 5) for k, name in enumerate(("noise", "blur", "contrast", "jpeg"))}
    _render.robustness_curves(0.95, corrupted, path, title_of(names))


def training_curve(path, names):
    epochs = np.arange(1, len(names) + 1)
    history = {"loss": 2 / epochs, "val_loss": 3 / epochs, "accuracy": 1 - 1 / epochs, "val_accuracy": 1 - 0.9 / epochs}
    _render.training_curve(history, path, title_of(names))


def network_bars(path, names):
    rows = [(name or "layer", (2 ** (8 - k % 6),) * 2 + (64,), 10.0**k, 9**k) for k, name in enumerate(names[:12])]
    rows[-1] = (rows[-1][0], (1000,), None, 10**9)
    _render.network_bars(rows, path, title_of(names))


def network_bubbles(path, names):
    few = names[:35]
    macs = 10 ** RANDOM.uniform(6, 10, len(few))
    points = [
        (name, size, size / 100, error)
        for name, size, error in zip(few, macs, np.linspace(40, 20, len(few)), strict=True)
    ]
    _render.network_bubbles(points, path, title_of(names), "error, %: ILSVRC-2012 validation, top-1")


def benchmark_chart(path, names):
    runtimes = itertools.cycle(["Keras", "tf.saved_model", "LiteRT", "ONNX Runtime"])
    rows = [
        (name, runtime, 0.9, 0.001 * 2**k, 10**6)
        for k, (name, runtime) in enumerate(zip(names[:8], runtimes, strict=False))
    ]
    _render.benchmark_chart(rows, path, title_of(names), batch=1)


def invariance_curves(path, names):
    targets = np.arange(min(len(names), 30))
    values = np.linspace(-10, 10, 9)
    distances = RANDOM.uniform(size=(len(targets), 9))
    layers = {"first_layer": names[0], "last_layer": names[-1]}
    drawn = {"first_distance": distances, "last_distance": distances, "probability": distances, "targets": targets}
    kinds = ("translation", "scale", "rotation")
    curves = [SimpleNamespace(kind=kind, values=values, **layers, **drawn) for kind in kinds]
    _render.invariance_curves(curves, path, title_of(names), names)


def correspondence_bars(path, names):
    scores = RANDOM.uniform(size=20)
    found = {
        name: SimpleNamespace(layer=names[-1], score=0.1 * k, random_scores=scores, p_value=0.01)
        for k, name in enumerate(names[:8])
    }
    _render.correspondence_bars(found, path, title_of(names))


def unit_activity_chart(path, names):
    values = RANDOM.normal(size=50)
    found = [
        SimpleNamespace(layer=name, mean=values, maximum=values - k, dead=values[: 2 * k], sparsity=0.05 * k)
        for k, name in enumerate(names[:20])
    ]
    _render.unit_activity_chart(found, path, title_of(names))


def gradient_flow_chart(path, names):
    flows = [SimpleNamespace(layer=name, gradient_norm=0.1**k, ratio=k) for k, name in enumerate(names[:20])]
    _render.gradient_flow_chart(flows, path, title_of(names))


def snapshot_grid(path, names):
    epochs = [1, 10, 100, 1000][: len(names)]
    rows = {name: ([0, 511], RANDOM.normal(size=(len(epochs), 2, 6, 6))) for name in names[:4]}
    _render.snapshot_grid(rows, epochs, path, title_of(names))


def embedding_scatter(path, names):
    labels = np.arange(4 * len(names)) % len(names)
    points = RANDOM.normal(size=(len(labels), 2))
    _render.embedding_scatter(points, labels, names, path, title_of(names), random_pixels(len(labels)))


def projection_grid(path, names):
    boxes = np.tile([0, 0, 16, 16], (9, 1))
    units = [
        (
            f"{name}, unit {k}",
            np.linspace(3, 1, 9),
            RANDOM.normal(size=(9, 16, 16, 3)),
            RANDOM.normal(size=(9, 16, 16, 3)),
            boxes,
        )
        for k, name in enumerate(names[:6])
    ]
    _render.projection_grid(units, path, title_of(names))


PLOTS = {
    draw.__name__: draw
    for draw in (
        prediction_grid,
        image_grid,
        class_map_grid,
        occlusion_grid,
        feature_map_grid,
        filter_grid,
        filter_grid_of_channels,
        confusion_matrix,
        mask_grid,
        box_grid,
        precision_recall,
        reliability,
        robustness_curves,
        training_curve,
        network_bars,
        network_bubbles,
        benchmark_chart,
        invariance_curves,
        correspondence_bars,
        unit_activity_chart,
        gradient_flow_chart,
        snapshot_grid,
        embedding_scatter,
        projection_grid,
    )
}


def test_every_plot_is_tested():
    assert {name.removesuffix("_of_channels") for name in PLOTS} == set(_render.__all__)


@pytest.fixture
def drawn(monkeypatch):
    """The figures drawn in a test, without slow PNG files."""
    figures = []

    def savefig(figure, path, **_):
        figure.draw_without_rendering()
        figures.append(figure)
        path.write_bytes(b"")

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def texts_of(figure):
    """Return the visible texts of a figure."""
    texts = set(figure.findobj(Text))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            texts -= {label for tick in [*axis.majorTicks, *axis.minorTicks] for label in (tick.label1, tick.label2)}
            if axes.axison:
                texts |= {label for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
            else:
                texts -= {axis.label, axis.offsetText}
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def overlap(first, second):
    """Return the smaller overlap of two boxes, in pixels."""
    return min(min(first.x1, second.x1) - max(first.x0, second.x0), min(first.y1, second.y1) - max(first.y0, second.y0))


def faults_of(figure):
    """Return descriptions of overlapping or cut texts and legends."""
    # For an annotation, the box of its text without its line
    boxes = {text: Text.get_window_extent(text) for text in texts_of(figure)}
    faults = [
        f"{a.get_text()!r} overlaps {b.get_text()!r}"
        for a, b in itertools.combinations(boxes, 2)
        if overlap(boxes[a], boxes[b]) > 1
    ]
    for text, box in boxes.items():
        if min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) < -1:
            faults.append(f"{text.get_text()!r} is cut off")
    for axes in figure.axes:
        inner_texts = set(axes.findobj(Text)) - {axes.title}
        for image in axes.images:
            place = image.get_window_extent()
            faults += [
                f"{text.get_text()!r} overlaps an image"
                for text, box in boxes.items()
                if (text not in inner_texts or not axes.axison) and overlap(box, place) > 1
            ]
        legends = [legend for legend in (axes.get_legend(), *figure.legends) if legend]
        for legend, line in itertools.product(legends, axes.lines):
            path = line.get_path().transformed(line.get_transform())
            if path.intersects_bbox(legend.get_window_extent(), filled=False):
                faults.append(f"a legend overlaps a line of {axes.get_ylabel()!r}")
    return faults


def check_texts(draw, kind, counts, drawn, path):
    for count in counts:
        draw(path / "a.png", names_of(kind, count))
        faults = faults_of(drawn.pop())
        assert not faults, f"{count} of {kind}: " + "\n".join(faults[:5])


@pytest.mark.parametrize("draw", PLOTS.values(), ids=PLOTS)
def test_texts_can_be_read(draw, drawn, tmp_path):
    check_texts(draw, "long", [2], drawn, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind, counts", [("long", (1, 10, 100)), *((kind, (3,)) for kind in NAMES if kind != "long")])
@pytest.mark.parametrize("draw", PLOTS.values(), ids=PLOTS)
@pytest.mark.filterwarnings("error:Glyph")
def test_texts_of_any_script_and_number_can_be_read(draw, kind, counts, drawn, tmp_path):
    check_texts(draw, kind, counts, drawn, tmp_path)


def all_text_of(figure):
    return "\n".join(text.get_text() for text in texts_of(figure))


def test_names_are_drawn_literally(drawn, tmp_path):
    """Dollar signs, leading underscores, backslashes and line feeds have no special meaning."""
    embedding_scatter(tmp_path / "a.png", NAMES["signs"])
    (figure,) = drawn
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    for name in ("$x_1$ and $y^2$", "_hidden", "C:\\temp\\new", "line\\nfeed", "%d{}<b>"):
        assert name in all_text_of(figure)


@pytest.fixture
def few_fonts(monkeypatch):
    """Simulate a machine that has only the fonts of matplotlib."""
    own = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    caches = [_labels._visible, _labels._family, _labels._advance, _labels._other_fonts]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.filterwarnings("error:Glyph")
def test_characters_without_a_font_are_escaped(few_fonts, drawn, tmp_path):
    confusion_matrix(tmp_path / "a.png", ["猫", "🐕", "Größe"])
    assert {"\\u732b", "\\U0001f415", "Größe"} <= set(all_text_of(drawn[0]).split("\n"))
    assert _labels.printable("a\x00b\udcffc\u2028") == "a\\x00b\\udcffc\\u2028"
    assert _labels.printable("\u2062") == '"\u2062"'


@pytest.mark.filterwarnings("error:Glyph")
def test_an_installed_font_with_the_letters_is_used(drawn, tmp_path):
    """If no installed font has the letters, they are escaped."""
    family = _labels._family("猫")
    confusion_matrix(tmp_path / "a.png", ["猫", "dog"])
    (figure,) = drawn
    assert ("猫" if family else "\\u732b") in all_text_of(figure).split("\n")
    assert figure.findobj(Text)[0].get_fontfamily()[1:] == ([family] if family else [])


def test_other_fonts_are_opened_only_if_needed(few_fonts, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(_labels, "_other_fonts", lambda: pytest.fail("searched for a font"))
    prediction_grid(tmp_path / "a.png", NAMES["long"])
    assert "\n" in all_text_of(drawn[0])


def test_fit_shortens_in_the_middle_and_keeps_the_tail():
    name = "Rhinoceros_sondaicus_annamiticus_juvenil"
    assert _labels.fit("cat", 1, 8) == "cat"
    for inches, lines in itertools.product((0.9, 1.3, 2), (1, 2, 3)):
        fitted = _labels.fit(name, inches, 8, lines, ": 99.9%")
        assert fitted.count("\n") < lines and fitted.endswith("99.9%")
        assert all(_labels.text_width(line, 8) <= inches for line in fitted.split("\n"))
        whole = fitted.replace("\n", "").removesuffix(": 99.9%")
        head, _, end = whole.partition("…")
        assert whole == name or (name.startswith(head) and name.endswith(end) and abs(len(head) - len(end)) < 3)
    assert _labels.fit("two words", 0.45, 8, 2) == "two\nwords"


@pytest.mark.parametrize(
    "count, noun, expected", [(1, "image", "1 image"), (0, "class", "0 classes"), (2000, "unit", "2,000 units")]
)
def test_counted(count, noun, expected):
    assert counted(count, noun) == expected
