"""Image files of every common kind, to compare ways of reading them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

HEIGHT, WIDTH = 48, 60


def _encoded(image, format="PNG", **settings):
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(depth, color_type, samples, *chunks):
    """Return a PNG file of a kind that Pillow cannot write.

    `samples` are the rows as they are stored in the file.
    """
    width = samples.shape[1] * 8 // depth if depth < 8 else samples.shape[1]
    header = struct.pack(">IIBBBBB", width, len(samples), depth, color_type, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples))
    parts = (_chunk(b"IHDR", header), *chunks, _chunk(b"IDAT", content), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _exif(orientation, endian="<"):
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112] = "a maker whose name is long", orientation
    return exif


def image_files():
    """Return image files that TensorFlow reads like Pillow, and others.

    Returns:
        (dictionary from the name of a JPEG or PNG file to its bytes, the same for files that TensorFlow reads
        differently or not at all).
    """
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (12, 15, 4), dtype="uint8")
    rgba = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.BICUBIC)
    rgb, gray = rgba.convert("RGB"), rgba.convert("L")
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    wide = random.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(">u2")
    packed = random.integers(0, 256, (HEIGHT, 20), dtype="uint8")
    colors = [tuple(map(int, np.asarray(rgb)[0, 0])), int(np.asarray(gray)[0, 0])]
    plain, turned = _encoded(rgb), _exif(6)
    readable = {
        "rgb.png": plain,
        "rgba.png": _encoded(rgba),
        "la.png": _encoded(rgba.convert("LA")),
        "gray.png": _encoded(gray),
        "bits.png": _encoded(gray.convert("1")),
        "palette.png": _encoded(palette),
        "palette_one_transparent.png": _encoded(palette, transparency=3),
        "palette_with_alpha.png": _encoded(palette, transparency=bytes(range(0, 256, 16))),
        "rgb_one_transparent.png": _encoded(rgb, transparency=colors[0]),
        "gray_one_transparent.png": _encoded(gray, transparency=colors[1]),
        "gray16.png": _encoded(Image.fromarray(wide[..., 0].astype("uint16"))),
        "gray16_one_transparent.png": _png(16, 0, wide[..., :1], _chunk(b"tRNS", wide[0, 0, :1].tobytes())),
        "la16.png": _png(16, 4, wide[..., :2]),
        "rgb16.png": _png(16, 2, wide[..., :3]),
        "rgba16.png": _png(16, 6, wide),
        "gray1.png": _png(1, 0, packed),
        "gray2.png": _png(2, 0, packed),
        "gray4.png": _png(4, 0, packed),
        "turned_after_the_pixels.png": plain[:-12] + _chunk(b"eXIf", turned.tobytes()[6:]) + plain[-12:],
        "gray.jpg": _encoded(gray, "JPEG"),
        "full_chroma.jpg": _encoded(rgb, "JPEG", subsampling=0),
        "half_chroma.jpg": _encoded(rgb, "JPEG", subsampling=2),
        "progressive.jpg": _encoded(rgb, "JPEG", progressive=True, quality=60),
        "rgb_inside.jpg": _encoded(rgb, "JPEG", keep_rgb=True),
        "noise.jpg": _encoded(Image.fromarray(wide[..., :3].astype("uint8")), "JPEG", quality=95),
        "comment.jpg": _encoded(rgb, "JPEG", exif=turned, comment=b"A" * 60_000, icc_profile=b"I" * 300),
    }
    for orientation in range(10):
        readable[f"turned{orientation}.jpg"] = _encoded(rgb, "JPEG", exif=_exif(orientation, "<"))
        readable[f"turned{orientation}.png"] = _encoded(rgba, exif=_exif(orientation, ">"))
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "as ImageMagick writes it", zip=True)
    refused = {
        "cmyk.jpg": _encoded(rgb.convert("CMYK"), "JPEG"),
        "xmp.jpg": _encoded(rgb, "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
        "text.png": _encoded(rgb, pnginfo=text),
        "gray2_one_transparent.png": _png(2, 0, packed, _chunk(b"tRNS", b"\0\1")),
        "rgb16_one_transparent.png": _png(16, 2, wide[..., :3], _chunk(b"tRNS", wide[0, 0, :3].tobytes())),
        "moving.gif": _encoded(rgb, "GIF"),
        "bitmap.bmp": _encoded(rgb, "BMP"),
        "web.webp": _encoded(rgb, "WEBP"),
        "tiny.png": _encoded(rgb.resize((3, 9))),
        "empty.png": b"",
        "text.jpg": b"these are notes",
        "cut.png": plain[: len(plain) // 2],
        "cut.jpg": readable["noise.jpg"][:3000],
    }
    return readable, refused
