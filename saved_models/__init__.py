"""Trained weights that ship: `.keras` files, and manifest.json, which says how each was made."""
