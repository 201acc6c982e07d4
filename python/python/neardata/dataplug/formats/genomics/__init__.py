"""Sequences and variants."""
