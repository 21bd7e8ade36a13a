"""Feature extractors: the VGG networks, where their weights live and how files become weights."""
