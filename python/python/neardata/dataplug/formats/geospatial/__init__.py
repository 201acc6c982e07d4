"""Point clouds and rasters."""
