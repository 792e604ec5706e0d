"""cnn-info: what the networks are, and what each layer costs and sees."""

import dataclasses

import click
from keras_cnns.cli import _common, _foreign, _model


@click.command("cnn-info", epilog=_common.EXIT_CODES)
@click.argument("models", nargs=-1, metavar="[NETWORK|MODEL]...", shell_complete=_model.complete_network)
@click.option(
    "--input-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Side of the images in pixels; by default the network's.",
)
@click.option("--recipe", is_flag=True, help="How the network is trained, instead of its layers.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw one network as a bar a layer, several as bubbles: multiply-adds, parameters, published error.",
)
@click.option("--versions", is_flag=True, help="Versions, processor, devices, settings: what a bug report needs.")
@_common.force_option
@_foreign.import_option
@_common.options
def command(models, input_size, recipe, plot, versions, force, as_json):
    """Show all networks, or the layers of one (NETWORK as ResNet50, MODEL as in cnn-export), or compare several.

    Parameters are the trained ones, multiply-adds those of convolutions and dense layers for one image. A receptive
    field is the part of the image that one position of a map sees, behind it the distance of two such fields.
    """
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if versions:
        if models or recipe or plot or input_size:
            raise ArgumentError(f"--versions stands alone, or with --json. Received: models={models}")
        _show_versions(as_json)
        return
    if plot:
        _common.prepare_plot(plot, force)
    if recipe:
        others = [name for name, value in (("--plot", plot), ("--input-size", input_size)) if value]
        if len(models) != 1 or others:
            raise ArgumentError(
                "--recipe takes one network or model, and neither --plot nor --input-size. Received: "
                f"{', '.join([*models, *others]) or 'none'}"
            )
        _show_recipe(models[0], as_json)
    elif not models:
        if input_size:
            raise ArgumentError(f"--input-size takes a network or model. Received: --input-size {input_size}")
        _show_all(plot, as_json)
    else:
        for text in models:  # a misspelt one is answered at once
            _model.locate(text) if _is_model(text) else canonical_name(text)
        _model.load_keras()
        shown = [_look_at(text, input_size) for text in models]
        if len(shown) == 1:
            _show_layers(shown[0], plot, as_json)
        else:
            _compare(shown, plot, as_json)


def _is_model(text):
    """Return whether the argument is a MODEL, a file or NAME:WEIGHTS, and not just a network's name."""
    return ":" in text or _model.is_file_name(text)


def _show_versions(as_json):
    """Print versions, processor, devices and settings."""
    from keras_cnns.cli import _versions

    found = _versions.collect()
    if as_json:
        _common.print_json(found)
        return
    packages, settings = found.pop("packages"), found.pop("settings")
    rows = [*found.items(), *packages.items(), *(settings.items() or [("settings", "none")])]
    _common.table("What a bug report needs:", [("name",), ("value", "left", 0, 20)], rows)


def _shape(shape):
    return "x".join(map(str, shape))


def _show_all(plot, as_json):
    """All networks, from the facts alone."""
    from keras_cnns import applications
    from keras_cnns.applications._facts import FACTS

    weights = {name: applications.list_weights(name) for name in FACTS}
    if plot:
        points = [(name, facts.macs, facts.parameters, facts.errors) for name, facts in FACTS.items()]
        _plot_bubbles(points, plot, "The networks as published")
    if as_json:
        _common.print_json(
            [{"name": name, **dataclasses.asdict(facts), "weights": weights[name]} for name, facts in FACTS.items()]
        )
        return
    columns = [
        ("network",),
        ("paper", "left", 6, 30),
        ("input", "left", 3),
        ("parameters", "right", 1),
        ("multiply-adds", "right", 2),
        ("published error", "left", 5, 30),
        ("weights", "left", 4, 12),
    ]
    rows = [
        (
            name,
            facts.citation,
            _shape(facts.input_shape),
            f"{facts.parameters:,}",
            f"{facts.macs / 1e6:,.1f} M",
            facts.published_error,
            ", ".join(weights[name]) or "-",
        )
        for name, facts in FACTS.items()
    ]
    _common.table(f"{len(rows)} networks", columns, rows)


@dataclasses.dataclass(frozen=True)
class _Shown:
    """What is shown of a network or model.

    Attributes:
        title: as the user called it.
        citation: of its paper, None for a model of another kind.
        account: `keras_cnns.analysis.Account`.
        fields: the receptive field or None of each row.
        errors: in percent, those published of a network, those measured of a model.
    """

    title: str
    citation: str | None
    account: object
    fields: list
    errors: dict


def _look_at(text, input_size):
    """Return `_Shown` of a network or model."""
    from keras_cnns import applications
    from keras_cnns.analysis import account, receptive_fields
    from keras_cnns.applications._facts import FACTS
    from keras_cnns.applications._registry import canonical_name

    shape = None
    if _is_model(text):
        model, record, _ = _model.open_model(text)
        title, facts = text, FACTS.get(record and record.builder)
        errors = _measured_errors(record) if record else {}
        if input_size:
            shape = (input_size, input_size, model.inputs[0].shape[-1])
    else:
        title = canonical_name(text)
        facts, errors = FACTS[title], FACTS[title].errors
        sized = {"input_shape": (input_size, input_size, facts.input_shape[-1])} if input_size else {}
        # Random numbers would take most of the time
        model = applications.create_model(title, kernel_initializer="zeros", **sized)
    found = account(model, shape)
    takes_images = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
    fields = receptive_fields(model, shape) if takes_images else [None] * len(found.rows)
    return _Shown(title, facts and facts.citation, found, fields, dict(errors))


def _measured_errors(record):
    """Return the test error that a model's record tells, in percent, named as published ones are."""
    source, measured = (record.data or {}).get("source", "images"), record.metrics.get("test", {})
    return {f"{source} test, top-1": round(100 * (1 - measured["top1"]), 2)} if "top1" in measured else {}


def _show_layers(shown, plot, as_json):
    """The layers of one network."""
    found = shown.account
    if plot:
        from keras_cnns import _render

        bars = [
            (row.layer, row.output_shape, row.macs, row.trainable + row.fixed)
            for row in found.rows
            if row.macs is None or row.connections
        ]
        _render.network_bars(bars, plot, f"{shown.title}, input {_inputs(found)}")
    if as_json:
        values = found.to_json()
        for row, field in zip(values["rows"], shown.fields, strict=True):
            row["receptive_field"] = field and dataclasses.asdict(field)
        _common.print_json({"model": shown.title, "errors": shown.errors, **values})
        return
    rows = [
        (
            row.layer,
            row.kind,
            _shape(row.output_shape),
            f"{row.trainable:,}" + (f" + {row.fixed:,}" if row.fixed else ""),
            "not counted" if row.macs is None else f"{row.macs:,}",
            "-" if field is None else f"{_shape(field.size)} / {field.stride[0]}",
        )
        for row, field in zip(found.rows, shown.fields, strict=True)
    ]
    columns = [
        ("layer",),
        ("kind", "left", 5),
        ("output", "left", 3),
        ("parameters", "right", 1),
        ("multiply-adds", "right", 2),
        ("receptive field", "right", 4),
    ]
    lines = [f"{shown.title}: {shown.citation}" if shown.citation else shown.title]
    lines.append(
        f"input {_inputs(found)}; {found.trainable:,} parameters trained, {found.fixed:,} fixed; {found.macs:,} "
        f"multiply-adds; {found.connections:,} connections; {_megabytes(found)} of activations an image"
    )
    if found.not_counted:
        lines.append(f"not counted, and not in these sums: {', '.join(found.not_counted)}")
    lines += [f"error, {key}: {value} %" for key, value in shown.errors.items()]
    _common.table("\n".join(lines), columns, rows)


def _inputs(found):
    return ", ".join(map(_shape, found.input_shapes))


def _megabytes(found):
    return f"{found.activation_bytes / 1e6:,.3g} MB"


def _compare(several, plot, as_json):
    """Several networks side by side."""
    if plot:
        points = [(one.title, one.account.macs, one.account.trainable, one.errors) for one in several]
        _plot_bubbles(points, plot, ", ".join(one.title for one in several))
    if as_json:
        totals = [{key: value for key, value in one.account.to_json().items() if key != "rows"} for one in several]
        _common.print_json(
            [{"model": one.title, "errors": one.errors, **total} for one, total in zip(several, totals, strict=True)]
        )
        return
    rows = [
        (
            one.title,
            _inputs(one.account),
            f"{one.account.trainable:,}",
            f"{one.account.macs / 1e6:,.1f} M" + (" and what is not counted" if one.account.not_counted else ""),
            _megabytes(one.account),
            "; ".join(f"{key} {value} %" for key, value in list(one.errors.items())[:2]) or "-",
        )
        for one in several
    ]
    columns = [
        ("model",),
        ("input", "left", 5),
        ("parameters", "right", 1),
        ("multiply-adds", "right", 2),
        ("activations", "right", 4),
        ("error", "left", 3, 24),
    ]
    _common.table(f"{len(rows)} models", columns, rows)


def _plot_bubbles(points, path, title):
    """Draw (name, multiply-adds, parameters, errors) by the error that the most of them have in common."""
    from keras_cnns import _render

    def measures(errors):
        """The errors by data set and rank, each under the first condition named."""
        found = {}
        for key, value in errors.items():
            data, *conditions = key.split(", ")
            rank = conditions[-1] if conditions and conditions[-1].startswith("top-") else ""
            found.setdefault(f"{data}, {rank}".rstrip(", "), value)
        return found

    known = [measures(errors) for *_, errors in points]
    names = dict.fromkeys(name for one in known for name in one)
    if not names:
        _render.network_bubbles([(n, m, p, p) for n, m, p, _ in points], path, title, "parameters")
        return
    best = max(names, key=lambda name: sum(name in one for one in known))
    drawn = [(n, m, p, one[best]) for (n, m, p, _), one in zip(points, known, strict=True) if best in one]
    _render.network_bubbles(drawn, path, title, f"error, %: {best}")
    missing = [n for (n, *_), one in zip(points, known, strict=True) if best not in one]
    if missing:
        _common.note(f"{path}: no error on {best} is known, so they are not drawn: {', '.join(missing)}")


ALWAYS = "builder optimizer learning_rate schedule batch_size epochs preprocessing augmentation protocol".split()


def _show_recipe(text, as_json):
    """The recipe in a model file, or those for a network."""
    from keras_cnns import recipes
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if _is_model(text):
        record = _model.read_record(*_model.locate(text))
        if not record or not record.recipe:
            raise ArgumentError(f"the model carries no recipe. Received: MODEL={text!r}")
        found = [dict(record.recipe)]
    else:
        builder = canonical_name(text)
        found = [one.to_json() for one in recipes.RECIPES.values() if one.suits(builder)]
    if as_json:
        _common.print_json(found)
        return
    names, unset = [one["name"] for one in found], recipes.Recipe("").to_json()
    # What no recipe sets says nothing, but for what every training has
    shown = [f for f in unset if f in ALWAYS or any(one.get(f, unset[f]) != unset[f] for one in found)]
    rows = [(field, *(_plain(one.get(field)) for one in found)) for field in shown if field != "name"]
    title = f"{text}: {_common.counted(len(found), 'recipe')}"
    _common.table(title, [("", "left"), *((name, "left", 0, 16) for name in names)], rows, below=True)


def _plain(value):
    """Return a value of a recipe as text."""
    if isinstance(value, dict) and set(value) == {"class_name", "config"}:  # of an initializer
        return f"{value['class_name']}({', '.join(f'{key}={setting}' for key, setting in value['config'].items())})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(setting)}" for key, setting in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
