"""The options that several commands share, and how `--help` shows them."""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from keras_cnns.cli import _output

import keras_cnns

if TYPE_CHECKING:
    from keras_cnns.evaluation import CRF

PAPER = "paper"
NARROW = 52  # columns; on a narrower terminal --help changes its layout
LEFT_COLUMN = 30  # most columns of an option's name in --help; longer names have a line to themselves
OTHER = "Other"
EXIT_CODES = """
Exit codes: 0 done; 1 a check failed; 2 wrong usage; 3 unreadable or unsafe input;
4 an optional package is missing; 5 output cannot be written; 70 unexpected error;
130 interrupted."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def help_width() -> int | None:
    """Return the width of `--help` for narrow terminals, None for others.

    Click makes lines of at least 50 columns, so it needs the width below that; its own choice is right elsewhere.
    """
    columns = shutil.get_terminal_size().columns
    return max(columns - 2, 20) if columns < NARROW else None


class _Formatter(click.HelpFormatter):
    """Print option names above their descriptions on narrow terminals."""

    @property
    def is_narrow(self) -> bool:
        return self.width < NARROW - 2

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = LEFT_COLUMN, col_spacing: int = 2) -> None:
        super().write_dl(rows, 4 if self.is_narrow else col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


class Option(click.Option):
    """An option with the section of `--help` that lists it.

    Attributes:
        section: heading of the section.
    """

    def __init__(self, *names: Any, section: str = OTHER, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


option = functools.partial(click.option, cls=Option)


class Command(click.Command):
    """A command whose `--help` lists options by section and ends with examples.

    Sections appear in the order of their first options, "Other" last.

    Args:
        settings: those of `click.Command`.
        examples: complete command lines.
        lists: heading to (name, description) pairs, printed after the options.
    """

    context_class = _Context

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        lists: Mapping[str, Iterable[tuple[str, str]]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **{"epilog": EXIT_CODES, **settings})
        self.examples, self.lists = examples, lists or {}

    def sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the (name, description) pairs of the options by section, "Other" last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", OTHER), []).append(record)
        sections[OTHER] = sections.pop(OTHER)
        return sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one list per section."""
        sections = self.sections(ctx)
        # All sections share the width of the left column
        width = min(LEFT_COLUMN, max(len(name) for records in sections.values() for name, _ in records))
        if isinstance(formatter, _Formatter) and formatter.is_narrow:
            width = 0
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), description) for name, description in records])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists, the exit codes and the examples."""
        for heading, rows in self.lists.items():
            with formatter.section(heading):
                formatter.write_dl(list(rows))
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                room = formatter.width - formatter.current_indent
                for example in self.examples:
                    lines = click.wrap_text(example, room, subsequent_indent="    ").splitlines()
                    formatter.write("".join(f"{' ' * formatter.current_indent}{line}\n" for line in lines))


def command(name: str, *, examples: Sequence[str], **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a `Command` of a function."""
    return click.command(name, cls=Command, examples=examples, **settings)


def output_options(function: Decorated) -> Decorated:
    """Add --json, --wide and --version to a command that prints tables."""

    def remember_wide(context: click.Context, parameter: click.Parameter, wide: bool) -> None:
        context.meta[_output.WIDE] = wide

    wide_option = option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=remember_wide,
        section="Output",
        help="Print all columns, however wide the table becomes.",
    )
    return output_options_without_table(wide_option(function))


def output_options_without_table(function: Decorated) -> Decorated:
    """Add --json and --version to a command."""
    json_option = option("--json", "as_json", is_flag=True, section="Output", help="Print the result as JSON.")
    return click.version_option(keras_cnns.__version__, prog_name="keras_cnns")(json_option(function))


def _crf(context: click.Context, parameter: click.Parameter, text: str | None) -> "CRF | None":
    """Return the `evaluation.CRF` of a text: "paper", or fields as color_std=10,position_std=30."""
    if text is None:
        return None
    from keras_cnns.errors import ArgumentError
    from keras_cnns.evaluation import CRF

    kinds = {field.name: type(field.default) for field in dataclasses.fields(CRF)}
    values: dict[str, Any] = {}
    try:
        for part in [] if text == PAPER else text.split(","):
            name, _, value = part.partition("=")
            values[name] = kinds[name](value)
        return CRF(**values)
    except (KeyError, ValueError) as error:
        reason = str(error) if isinstance(error, ArgumentError) else f"the fields are {', '.join(kinds)}"
        raise click.BadParameter(
            f"must be {PAPER}, or numbers as color_std=10,position_std=30: {reason}. Received: {text!r}"
        ) from None


crf_option = option(
    "--crf",
    callback=_crf,
    metavar=f"{PAPER}|NAME=N,...",
    section="Measurement",
    help="Refine masks by the colors of the image, with the widths of DeepLab's paper or others.",
)
data_dir_option = option(
    "--data-dir", type=click.Path(), section="Data", help="Folder of tensorflow-datasets' datasets (for tfds:NAME)."
)
download_option = option(
    "--download", is_flag=True, section="Data", help="Download the dataset of tfds:NAME if it is not on disk."
)
force_option = option(
    "--force", is_flag=True, section="Output", help="Overwrite the files of an earlier run in the same place."
)
skip_broken_option = option(
    "--skip-broken",
    is_flag=True,
    section="Data",
    help="Leave out images that cannot be read, or whose mask cannot, and print their names.",
)
