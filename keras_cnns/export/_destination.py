"""The files that an export writes."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from keras_cnns import _files, typing
from keras_cnns.errors import ArgumentError, OutputError, OutputExistsError
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where an export writes.

    Attributes:
        folder: folder of the artifacts.
        stem: name of the artifacts, before the suffix.
        artifacts: from each format's name to the path of its artifact.
        c_arrays: paths of the C source and header, if they are asked for.
        overwrite: whether files that exist may be replaced.
    """

    folder: Path
    stem: str
    artifacts: Mapping[str, Path]
    c_arrays: tuple[Path, ...]
    overwrite: bool

    @property
    def paths(self) -> list[Path]:
        """Paths of all files and folders to write, except the manifest."""
        return [*self.artifacts.values(), *self.c_arrays]

    def check(self) -> None:
        """Raise an error if a file cannot be moved to its place."""
        if not self.overwrite:
            _files.refuse_existing(*self.paths)
        for format, path in self.artifacts.items():
            is_folder = format == "saved_model"
            if path.is_dir() and not is_folder:
                raise OutputError(f"{path}: cannot be written (a folder of that name is there). Move it away.")
            if path.exists() and not path.is_dir() and is_folder:
                raise OutputError(f"{path}: cannot be written (a file of that name is there). Move it away.")
            if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
                raise OutputExistsError(
                    f"the output is a folder with other things than a SavedModel in it; choose another place. "
                    f"Received: output={str(path)!r}"
                )


def choose_destination(
    output: typing.Path, stem: str, formats: Iterable[str], options: Options, overwrite: bool
) -> Destination:
    """Return the `Destination` of an export.

    Args:
        output: folder to write into.
        stem: name of the artifacts, before the suffix and the name of the quantization.
        formats: names of `FORMATS`.
        options: `Options`.
        overwrite: whether files that exist may be replaced.

    Raises:
        ArgumentError: if the stem is not the name of a file.
    """
    if not stem or Path(stem).name != stem:
        raise ArgumentError(f"`stem` must be the name of a file and not a path. Received: stem={stem!r}")
    if options.quantize != "none":
        stem = f"{stem}-{options.quantize}{'-integer' if options.integer_only else ''}"
    folder = Path(output)
    artifacts = {format: folder / f"{stem}{FORMATS[format].suffix}" for format in formats}
    c_arrays = (folder / f"{stem}.cc", folder / f"{stem}.h") if options.c_array else ()
    return Destination(folder, stem, artifacts, c_arrays, overwrite)
