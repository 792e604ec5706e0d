"""PyTorch's DataLoader with torchvision's transforms, as a program.

    echo REQUEST | python benchmarks/torch_loader.py

REQUEST, the first line on stdin, is a JSON object of the arguments below. For each further line the program reads all
files once and prints their number. Nothing else of this
project is imported, because torch and torchvision may be installed in another environment. `decoder` is "Pillow", as in
torchvision's ImageFolder, or "torchvision" (torchvision.io.decode_image).
"""

import json
import sys

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2


class Files(Dataset):
    """Transformed images of JPEG files, with labels.

    Args:
        request: see the module.
    """

    def __init__(self, request: dict) -> None:
        self.files, self.decoder = request["files"], request["decoder"]
        side = request["side"]
        crops = {
            "area": [v2.RandomResizedCrop(side)],
            "resize": [v2.Resize(request["shorter side"]), v2.RandomCrop(side)],
        }
        steps = [*crops[request["crop"]], v2.RandomHorizontalFlip()]
        if self.decoder == "Pillow":
            steps.append(v2.PILToTensor())
        if request["normalize"]:
            steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        """Return an image and its label."""
        if self.decoder == "Pillow":
            from PIL import Image

            image = Image.open(self.files[k]).convert("RGB")
        else:
            image = decode_image(self.files[k], ImageReadMode.RGB)
        return self.transform(image), k % 2


def main() -> None:
    """Read a pass for each line on stdin."""
    request = json.loads(sys.stdin.readline())
    loader = DataLoader(
        Files(request),
        request["batch"],
        shuffle=True,
        num_workers=request["workers"],
        persistent_workers=True,
    )
    for _ in sys.stdin:
        print(sum(len(labels) for _, labels in loader), flush=True)


if __name__ == "__main__":
    main()
