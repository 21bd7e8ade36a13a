"""Files other than pictures: how weights and checkpoints are written, converted and downloaded."""
