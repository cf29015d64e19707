"""What proves that a point is a global minimum: ranks, kernels, closed floors, and the assumptions of each theorem."""
