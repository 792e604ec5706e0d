"""From an image file in any format to uint8 pixels."""

import contextlib
import functools
import io
import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from keras_cnns.data.jpeg_damage import JPEG_START, warn_if_damaged
from keras_cnns.errors import SourceError
from keras_cnns.typing import Path, Size

if TYPE_CHECKING:
    import tensorflow as tf

Window: TypeAlias = tuple[int, int, int, int]  # top, left, height, width, in pixels

SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
# Formats that their first bytes identify. The content of other formats is too ambiguous to recognize an image by it.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
MINIMUM_SIDE = 4  # pixels; smaller images show nothing
DIVISORS = (0, 1, 2, 4, 8)  # by which TensorFlow reduces a JPEG while decoding it; 0: not decoded by TensorFlow


def read_image(path: Path | IO[bytes], channels: int = 3) -> NDArray[np.uint8]:
    """Return the pixels of an image file.

    The orientation that a camera noted is applied. Transparent parts become white. An animation yields its first
    frame. 16-bit gray is reduced to 8 bits.

    Args:
        path: path of a file in any format that Pillow reads, or a file that is open for reading.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 array (height, width, channels).

    Raises:
        SourceError: if the file is missing, not an image, damaged, or has a side of fewer than 4 pixels.

    Examples:
        >>> from PIL import Image
        >>> from keras_cnns import data
        >>> Image.new("RGB", (640, 480), "orange").save("sunset.jpg")
        >>> data.read_image("sunset.jpg").shape
        (480, 640, 3)
    """
    try:
        with _open(path) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(_eight_bit(upright, image.format).convert("L" if channels == 1 else "RGB"))
    except UnidentifiedImageError:
        if is_heif(path):
            fault = "is a HEIC image, which needs pillow-heif. Run pip install pillow-heif, or convert it to JPEG"
        else:
            fault = "is no image in a format that is known. Remove it or convert it to PNG"
        raise SourceError(f"{path}: {fault}.") from None
    except Exception as error:  # each decoder has its own exceptions
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{path}: cannot be read as an image ({reason}). Replace or remove it.") from None
    height, width = pixels.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise SourceError(
            f"{path}: is only {width}x{height} pixels, too small to show anything. "
            f"Use an image of at least {MINIMUM_SIDE}x{MINIMUM_SIDE} pixels."
        )
    return pixels.reshape(height, width, channels)


@functools.cache
def can_read_heif() -> bool:
    """Return whether HEIC images can be read.

    If the package pillow-heif is installed, this registers it with Pillow.
    """
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def is_image(path: Path) -> bool:
    """Return whether a file begins like an image that `read_image` reads.

    No pixel is decoded.

    Args:
        path: path of the file.
    """
    can_read_heif()
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with contextlib.suppress(Exception), Image.open(path, formats=formats):  # each decoder has its own exceptions
        return True
    return False


def _open(path: Path | IO[bytes]) -> Image.Image:
    """Return an image file opened by Pillow, or by pillow-heif."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if not (is_heif(path) and can_read_heif()):
            raise
        return Image.open(path)


def is_heif(path: Path | IO[bytes]) -> bool:
    """Return whether a file begins like a HEIC image.

    Args:
        path: path of the file, or a file that is open for reading.
    """
    with contextlib.suppress(OSError, AttributeError), _opened(path) as file:
        file.seek(0)
        head = file.read(12)
        file.seek(0)
        return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
    return False


def read_file(path: Path | IO[bytes]) -> bytes:
    """Return the bytes of a file.

    They are empty if the file cannot be read; `read_image` then raises the error that names it.

    Args:
        path: path of the file, or a file that is open for reading.
    """
    try:
        with _opened(path) as file:
            file.seek(0)
            return file.read()
    except OSError:
        return b""


def _opened(path: Path | IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Return the file at a path, opened for reading.

    A file that is open already stays open afterwards.
    """
    return open(path, "rb") if isinstance(path, (str, os.PathLike)) else contextlib.nullcontext(path)


def plan_window(
    content: bytes,
    channels: int,
    choose: Callable[[int, int], Window] | None = None,
    size: Size | None = None,
) -> tuple[int, Window]:
    """Return how to decode a window of an image file.

    Args:
        content: bytes of the file.
        channels: 1 (gray) or 3 (RGB).
        choose: function from the image's height and width to (top, left, height, width) in whole pixels; None for the
            whole image.
        size: (height, width) to which the window will be resized; None if it will not be.

    Returns:
        (divisor, reduced). For a complete and plain JPEG, which every decoder shows the same way, the divisor of the
        image's size is 1, 2, 4 or 8, and `reduced` is the window (top, left, height, width) at the reduced size. For
        any other file all are zero, and no window is chosen.
    """
    sides = _plain_jpeg_size(content, channels)
    if sides is None:
        return 0, (0, 0, 0, 0)
    window = choose(*sides) if choose else (0, 0, *sides)
    divisor = _divisor(window, size)
    top, left, height, width = (side // divisor for side in window)
    return divisor, (top, left, height, width)


def read_window(
    path: Path,
    channels: int = 3,
    choose: Callable[[int, int], Window] | None = None,
    size: Size | None = None,
) -> NDArray[np.uint8]:
    """Read a window of an image file, faster than `read_image`.

    TensorFlow decodes a plain JPEG, and only inside the window. `read_image` reads every other file and any file
    that TensorFlow refuses, because it knows what is wrong with a file.

    Args:
        path: path of the file.
        channels: 1 (gray) or 3 (RGB).
        choose: as for `plan_window`.
        size: as for `plan_window`. A window at least 2, 4 or 8 times as large is returned reduced by that factor; a
            JPEG's cosine transform does this at less cost.

    Returns:
        uint8 array (height, width, channels).

    Raises:
        SourceError: as `read_image`. Damage below the window may stay unnoticed, except in a truncated file.

    Warns:
        SourceWarning: naming a JPEG with stray markers among its pixels.
    """
    content = read_file(path)
    warn_if_damaged(path, content)
    divisor, reduced = plan_window(content, channels, choose, size)
    if divisor:
        import tensorflow as tf

        try:
            with tf.device("CPU"):
                return decode_jpeg(content, reduced, channels, divisor).numpy()
        except tf.errors.InvalidArgumentError:
            pass  # read_image raises the error that names the file, or reads it
    pixels = read_image(path, channels)
    return pixels if choose is None else cut(pixels, choose(*pixels.shape[:2]), size)


def decode_jpeg(content: "bytes | tf.Tensor", window: "Window | tf.Tensor", channels: int, divisor: int) -> "tf.Tensor":
    """Return the pixels of a JPEG's window, the same as Pillow's.

    Args:
        content: the file's bytes, or a scalar string tensor of them.
        window: (top, left, height, width) at the reduced size.
        channels: 1 (gray) or 3 (RGB).
        divisor: 1, 2, 4 or 8, by which the image is reduced.

    Returns:
        uint8 tensor (height, width, channels).
    """
    import tensorflow as tf

    return tf.raw_ops.DecodeAndCropJpeg(
        contents=content, crop_window=window, channels=channels, ratio=divisor, dct_method="INTEGER_ACCURATE"
    )


def cut(pixels: NDArray[np.uint8], window: Window, size: Size | None) -> NDArray[np.uint8]:
    """Return a window of an image, reduced by averaging as `read_window` does.

    Args:
        pixels: uint8 array (height, width, channels).
        window: (top, left, height, width), in pixels.
        size: (height, width) to which the window will be resized; None if it will not be.
    """
    top, left, height, width = window
    pixels = pixels[top : top + height, left : left + width]
    if (divisor := _divisor(window, size)) == 1:
        return pixels
    reduced = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).reduce(divisor)
    return np.asarray(reduced).reshape(reduced.height, reduced.width, -1)


def _divisor(window: Window, size: Size | None) -> int:
    """Return how many times, 1 to 8, a window may be reduced."""
    factor = min(window[2] // size[0], window[3] // size[1]) if size else 1
    return max(divisor for divisor in DIVISORS if divisor <= max(factor, 1))


def _plain_jpeg_size(content: bytes, channels: int) -> Size | None:
    """Return (height, width) of a plain JPEG; None for other files.

    A plain JPEG is complete and needs nothing but decoding.

    TensorFlow's decoder fails on CMYK, ignores the orientation, and reads the upper part of a truncated file without
    an error.
    """
    if not (content.startswith(JPEG_START) and content.endswith(b"\xff\xd9")):
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:  # reads only the header
            is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            is_plain = image.format == "JPEG" and (image.mode == "L" or (image.mode == "RGB" and channels == 3))
            if is_turned or not is_plain or min(image.size) < MINIMUM_SIDE:
                return None
            return image.height, image.width
    except Exception:  # read_image will meet the same fault and name the file
        return None


def _eight_bit(image: Image.Image, format: str | None = None) -> Image.Image:
    """Return the image without transparency, with at most 8 bits per channel.

    Args:
        image: image of Pillow.
        format: format of its file, by Pillow's name. It decides which value is white if the mode does not: integers of
            32 bits have no fixed white, but Pillow itself scales those of a PGM file to 16 bits.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white; convert it to 8 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype("int64")
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("more than 16 bits per pixel; convert it to 8 bits")
        if image.mode == "I" and format not in ("PNG", "PPM") and wide.max() <= 255:
            return Image.fromarray(wide.astype("uint8"))
        return Image.fromarray((wide // 257).astype("uint8"))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image
