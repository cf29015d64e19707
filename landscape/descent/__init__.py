"""Gradient methods at work: replicas, starts, budgets, noise, and where they end."""
