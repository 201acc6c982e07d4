"""The formats, by field of science."""
