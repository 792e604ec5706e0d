"""The report of an export or a verification."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cnns._deprecated import renamed
from keras_cnns.export import inspection
from keras_cnns.export._baseline import Baseline
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.options import Options
from keras_cnns.export.parity import Parity
from keras_cnns.export.verification import Verification


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Attributes:
        format: a name of `FORMATS`.
        path: the file or folder.
        bytes: its size; for a folder, of all files in it.
        sha256: hash of the file; for a folder, of the names and contents of all files in it.
        seconds: time that writing it took; None if it was exported earlier.
        inputs, outputs: from each name to dtype, shape, and scale and zero point of quantized integers; {} if the
            artifact was not run.
        contents: `Contents`.
        parity: `Parity` with the model; None if the artifact was not verified.
    """

    format: str
    path: Path
    bytes: int
    sha256: str
    seconds: float | None
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    contents: inspection.Contents
    parity: Parity | None

    @classmethod
    def of(
        cls,
        format: str,
        path: Path,
        target: Path,
        sha256: str,
        seconds: float | None,
        verification: Verification,
    ) -> "Artifact":
        """Return the record of an artifact.

        Args:
            format: a name of `FORMATS`.
            path: where the artifact is now.
            target: where it will be.
            sha256: hash of the artifact, as `inspection.sha256` returns it.
            seconds: time that writing it took.
            verification: what its verification found out.
        """
        return cls(
            format=format,
            path=target,
            bytes=inspection.size(path),
            sha256=sha256,
            seconds=seconds,
            inputs=verification.inputs,
            outputs=verification.outputs,
            contents=verification.contents,
            parity=verification.parity,
        )

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        parity = self.parity and self.parity.to_json()
        return {**dataclasses.asdict(self), "path": str(self.path), "parity": parity}


@renamed(pictures="images")
@dataclasses.dataclass(frozen=True)
class Report:
    """The artifacts of an export and how they were verified.

    Attributes:
        model: name of the artifacts, before the suffix.
        parameters: number of the model's weights.
        options: `Options`.
        source: where the weights are from: name, sha256 of the file that the model or its record was read from (None
            without one), and sha256 of the weights themselves.
        images: the images that the artifacts were verified on, in words; None if they were not verified.
        examples: number of these images.
        accuracy: accuracy of the float32 model on them; None without labels.
        calibration: description, number, seed and sha256 of the calibration images; None if nothing was fitted.
        versions: versions of the packages that wrote and ran the artifacts.
        command: command line that was run; None in code.
        artifacts: tuple of `Artifact`.

    Examples:
        >>> from keras_cnns import applications, export
        >>> report = export.export_model(applications.weights_info("NiN", "digits").path, "exports", "onnx")
        >>> report.model, [artifact.format for artifact in report.artifacts]
        ('nin-digits', ['onnx'])
    """

    model: str
    parameters: int
    options: Options
    source: Mapping[str, Any]
    images: str | None
    examples: int
    accuracy: float | None
    calibration: Mapping[str, Any] | None
    versions: Mapping[str, str]
    command: str | None
    artifacts: tuple[Artifact, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {**self._shared_values(), "artifacts": [artifact.to_json() for artifact in self.artifacts]}

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the manifest's entries by file name, each complete in itself."""
        shared, entries = self._shared_values(), {}
        for artifact in self.artifacts:
            values = artifact.to_json()
            del values["path"]
            entries[artifact.path.name] = {**shared, **values}
        return entries

    def _shared_values(self):
        names = (field.name for field in dataclasses.fields(self) if field.name != "artifacts")
        return {**{name: getattr(self, name) for name in names}, "options": self.options.to_json()}


def make_report(
    name: str,
    prepared: Prepared,
    baseline: Baseline | None,
    artifacts: Sequence[Artifact],
    calibration: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Report:
    """Return the `Report` of artifacts.

    Args:
        name: name of the artifacts, before the suffix.
        prepared: the model.
        baseline: the model's outputs on the images of the verification; None if nothing was verified.
        artifacts: the artifacts.
        calibration: the manifest's entry about the calibration.
        command: command line to note.
    """
    return Report(
        model=name,
        parameters=prepared.model.count_params(),
        options=prepared.options,
        source=prepared.source,
        images=baseline.images.description if baseline else None,
        examples=len(baseline.images.images) if baseline else 0,
        accuracy=baseline.accuracy if baseline else None,
        calibration=calibration,
        versions=prepared.card(name)["versions"],
        command=command,
        artifacts=tuple(artifacts),
    )
