"""What moves a vector: replicas, schedules, sampling, motion, ascent, polishing."""
