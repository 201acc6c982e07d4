"""Imaging mass spectrometry."""
