"""What was exported, and what proves it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from keras_cnns._deprecated import renamed
from keras_cnns.export import inspection
from keras_cnns.export.options import Options
from keras_cnns.export.parity import Parity


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Attributes:
        format: a name of `FORMATS`.
        path: where it is.
        bytes: its size; of a folder, of all files in it.
        sha256: of the file; of a folder, of the names and contents of all files in it.
        seconds: that writing it took.
        inputs, outputs: by name, dtype, shape, and scale and zero point where integers stand for other numbers; {} if
            it was not run.
        contents: `Contents`.
        parity: `Parity` with the model, None if it was not verified.
    """

    format: str
    path: Path
    bytes: int
    sha256: str
    seconds: float | None
    inputs: Mapping
    outputs: Mapping
    contents: inspection.Contents
    parity: Parity | None

    def to_json(self):
        """Return a dictionary of JSON values."""
        parity = self.parity and self.parity.to_json()
        return {**dataclasses.asdict(self), "path": str(self.path), "parity": parity}


@renamed(pictures="images")
@dataclasses.dataclass(frozen=True)
class Report:
    """What was exported and how it was verified.

    Attributes:
        model: what the artifacts are called, before the suffix.
        parameters: number of its weights.
        options: `Options`.
        source: of the weights: name, sha256 of the file that the model or its record was read from, None without one,
            and sha256 of the weights themselves.
        images: which images the artifacts were verified on, in words; None if they were not.
        examples: how many.
        accuracy: of the float32 model on them, None where they have no labels.
        calibration: of the images that ranges were fitted on: which, how many, seed, sha256; or None.
        versions: of the packages that wrote and ran the artifacts.
        command: line that was run, None in code.
        artifacts: tuple of `Artifact`.
    """

    model: str
    parameters: int
    options: Options
    source: Mapping
    images: str | None
    examples: int
    accuracy: float | None
    calibration: Mapping | None
    versions: Mapping
    command: str | None
    artifacts: tuple[Artifact, ...]

    def to_json(self):
        """Return a dictionary of JSON values."""
        return {**self._shared(), "artifacts": [one.to_json() for one in self.artifacts]}

    def entries(self):
        """Return what a manifest says: file name to what is known of the file, each complete in itself."""
        return {
            one.path.name: {**self._shared(), **{key: value for key, value in one.to_json().items() if key != "path"}}
            for one in self.artifacts
        }

    def _shared(self):
        names = (field.name for field in dataclasses.fields(self) if field.name != "artifacts")
        return {**{name: getattr(self, name) for name in names}, "options": self.options.to_json()}
