"""Feature extractors: the protocol, the VGG networks, the small one of the package."""
