"""The commands: each parses, calls one function of the package, and prints."""
