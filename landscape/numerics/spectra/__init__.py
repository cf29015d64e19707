"""Spectra of symmetric operators: Krylov spaces, Lanczos, traces, densities, inertia."""
