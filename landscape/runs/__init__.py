"""Files, and how an answer is computed, resumed and published."""
