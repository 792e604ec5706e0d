"""Facts about single images, collected for a summary of their source."""

import dataclasses
import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keras_cnns.data.image_files import read_image
from keras_cnns.data.jpeg_damage import decoder_warning
from keras_cnns.errors import SourceError
from keras_cnns.typing import Size

THUMBNAIL_SIDE = 16  # pixels


@dataclasses.dataclass(frozen=True, slots=True)  # slots save memory, as there may be a million of them
class ExaminedImage:
    """Facts about one image of a source.

    Attributes:
        name: path of the file, or split and index, such as "train[3]".
        label: its label; -1 if it has none.
        size: (height, width) in pixels; None if the image cannot be read.
        mode: mode, by Pillow's name.
        digest: SHA-256 of the file or array.
        thumbnail: gray values of `THUMBNAIL_SIDE` x `THUMBNAIL_SIDE` pixels.
        gray: whether all channels are equal.
        fault: why the image cannot be read; "" if it can.
        damage: what the JPEG decoder complains of; "" if nothing.
    """

    name: str
    label: int
    size: Size | None = None
    mode: str = ""
    digest: bytes = b""
    thumbnail: bytes = b""
    gray: bool = False
    fault: str = ""
    damage: str = ""


class _NamedFile(io.BytesIO):
    """A file in memory that errors call by a name."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


def examine(
    name: str, label: int, content: NDArray[np.uint8] | bytes | None, channels: int
) -> tuple[ExaminedImage, NDArray[np.uint8] | None]:
    """Return the facts about one image, and its pixels.

    Args:
        name: path of the file, or the image's name in errors.
        label: its label.
        content: the image as uint8 array (height, width, channels), or the bytes of its file. None reads the file
            `name`.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        (`ExaminedImage`, uint8 array (positions, channels), or None if the image cannot be read).
    """
    damage = ""
    if isinstance(content, np.ndarray):
        pixels, mode = content, "L" if content.shape[-1] == 1 else "RGB"
        digest = hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
    else:
        try:
            if content is None:
                with open(name, "rb") as file:
                    content = file.read()
            pixels = read_image(_NamedFile(content, name), channels)
        except (SourceError, OSError) as error:
            reason = str(error) if isinstance(error, SourceError) else f"{name}: cannot be read ({error.strerror})."
            return ExaminedImage(name, label, fault=reason), None
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
        digest, damage = hashlib.sha256(content).digest(), decoder_warning(content)
    values = pixels.reshape(-1, pixels.shape[-1])
    gray = values.shape[1] == 1 or bool((values == values[:, :1]).all())
    luminance = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("L")
    thumbnail = luminance.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes()
    return ExaminedImage(name, label, pixels.shape[:2], mode, digest, thumbnail, gray, damage=damage), values
