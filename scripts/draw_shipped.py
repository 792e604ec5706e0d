"""Draw what each network that ships says of twelve of its test pictures, and where it looks, into docs/.

    python scripts/draw_shipped.py [FOLDER] [NAME ...]

FOLDER holds cifar10.npz, mnist.npz and so on, as for measure_accuracy.py; NAME is as nin:digits, without one all are
drawn. It calls `cnn-visualize NAME --data SOURCE --what cam --count 12`, and says so.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import _shipped

from keras_cnns.errors import nearest


def main(arguments=None):
    """Draw them, one file each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="of the .npz files; default: this one")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of weights, as nin:digits; default: all")
    given = parser.parse_args(arguments)
    entries = {_shipped.full_name(entry): entry for entry in _shipped.entries()}
    for name in given.names or entries:
        if name not in entries:
            parser.error(f"there are {', '.join(entries)}.{nearest(name, entries)} Received: NAME={name!r}")
        source = _shipped.data_place(entries[name]["data"]["source"], given.folder)
        with tempfile.TemporaryDirectory() as folder:
            command = ["cnn-visualize", name, "--data", source, "--what", "cam", "--count", "12", "--output", folder]
            print(shlex.join(command), flush=True)
            # The one that is installed beside this Python
            done = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]])
            if done.returncode:
                sys.exit(done.returncode)
            shutil.copy(Path(folder) / "cam.png", _shipped.picture(entries[name]))


if __name__ == "__main__":
    main()
