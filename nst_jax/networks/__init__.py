"""Feature extractors: the protocol, the VGG networks, and the small network in the package."""
