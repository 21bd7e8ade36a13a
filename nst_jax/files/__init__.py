"""Files besides pictures: weights, checkpoints; how they are written, converted and fetched."""
