"""Which points are joined below which level: paths by construction, on top of the wings."""
