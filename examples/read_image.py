"""Read an image file as an exported artifact takes it.

The pixels are those that the network was trained on, and that cnn-predict reads.

    pip install numpy pillow

This program does not need keras_cnns, whose tests compare these pixels with those of the package.
"""

import numpy as np
from PIL import Image, ImageOps


def read_image(path: str, card: dict) -> np.ndarray:
    """Return an image file's pixels.

    Args:
        path: file of any size, in any format that Pillow reads.
        card: the artifact's description of itself, keras_cnns.json.

    Returns:
        float32 array (1, height, width, channels) of whole numbers, 0 to 255.

    Raises:
        ValueError: if a pixel has more than 16 bits.
    """
    (_, height, width, channels), rule = card["input"]["shape"], card["preprocessing"]
    side = rule["shorter_side"]
    file = Image.open(path)
    image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":  # 16-bit gray, or 8-bit gray stored in 32 bits
        wide = np.array(image)
        if image.mode == "F" or wide.min() < 0 or wide.max() > 65535:
            raise ValueError(f"{path}: has more than 16 bits per pixel; convert it to 8 bits")
        is_narrow = image.mode == "I" and file.format not in ("PNG", "PPM") and wide.max() <= 255
        image = Image.fromarray(np.uint8(wide if is_narrow else wide // 257))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:  # put onto white
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = image.convert("L" if channels == 1 else "RGB")
    # Stretch it, resize its shorter side and cut out the center, or put it whole onto a background. In float32, because
    # 8 bits would be rounded twice.
    size = width, height
    if side:
        size = [max(side, round(n * side / min(image.size))) for n in image.size]
    elif rule.get("fit") == "pad":
        w, h = image.size
        size = min(width, max(1, (2 * w * height + h) // (2 * h))), min(height, max(1, (2 * h * width + w) // (2 * w)))
    bands = [band.convert("F").resize(size, Image.BILINEAR) for band in image.split()]
    pixels = np.rint(np.stack(bands, axis=-1))
    left, top = abs(size[0] - width) // 2, abs(size[1] - height) // 2
    if side:
        return pixels[None, top : top + height, left : left + width]
    whole = np.full((1, height, width, channels), rule.get("fill", 0), "float32")
    whole[:, top : top + size[1], left : left + size[0]] = pixels
    return whole
