"""Draw twelve test images with each shipped network's predictions into docs/images/.

    python scripts/draw_shipped.py [FOLDER] [NAME ...]

FOLDER holds cifar10.npz, mnist.npz and so on, as for measure_accuracy.py. NAME is a name such as nin:digits; without
one, all are drawn. The script runs `cnn-visualize NAME --data SOURCE --what cam --count 12`, which also draws where the
evidence lies, and prints each command.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _shipped


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one file per network."""
    data_folder, entries = _shipped.arguments(__doc__, arguments)
    for name, entry in entries.items():
        source = _shipped.data_place(entry["data"]["source"], data_folder)
        with tempfile.TemporaryDirectory() as folder:
            command = ["cnn-visualize", name, "--data", source, "--what", "cam", "--count", "12", "--output", folder]
            print(shlex.join(command), flush=True)
            # The command that is installed with this Python
            done = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]])
            if done.returncode:
                sys.exit(done.returncode)
            shutil.copy(Path(folder) / "cam.png", _shipped.image(entry))


if __name__ == "__main__":
    main()
