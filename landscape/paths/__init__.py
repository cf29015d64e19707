"""Directions, planes, slices, curves between points."""
