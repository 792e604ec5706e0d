"""Trained weights that ship: `.keras` files, and manifest.json, which says how each was made.

An entry says all that the record in its file says, and more: file, bytes, sha256, license, the sha256 of the data, and
by which protocol the test split was measured. `scripts/ship_weights.py` writes both.
"""
