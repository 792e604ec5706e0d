"""Trained weights that ship with the package.

They are `.keras` files. manifest.json says how each was made: an entry repeats the record in the file, and adds the
file's name, size in bytes, sha256 and license, the sha256 of the data, and the protocol by which the test split was
evaluated. `scripts/ship_weights.py` writes both.
"""
