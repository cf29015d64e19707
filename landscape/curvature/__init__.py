"""Curvature of F: operators, spectra, maps, sharpness."""
