"""Draw what each network that ships says of twelve of its test images, and where it looks, into docs/.

    python scripts/draw_shipped.py [FOLDER] [NAME ...]

FOLDER holds cifar10.npz, mnist.npz and so on, as for measure_accuracy.py; NAME is as nin:digits, without one all are
drawn. It calls `cnn-visualize NAME --data SOURCE --what cam --count 12`, and says so.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import _shipped


def main(arguments=None):
    """Draw them, one file each."""
    folder_of_data, entries = _shipped.arguments(__doc__, arguments)
    for name, entry in entries.items():
        source = _shipped.data_place(entry["data"]["source"], folder_of_data)
        with tempfile.TemporaryDirectory() as folder:
            command = ["cnn-visualize", name, "--data", source, "--what", "cam", "--count", "12", "--output", folder]
            print(shlex.join(command), flush=True)
            # The one that is installed beside this Python
            done = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]])
            if done.returncode:
                sys.exit(done.returncode)
            shutil.copy(Path(folder) / "cam.png", _shipped.image(entry))


if __name__ == "__main__":
    main()
