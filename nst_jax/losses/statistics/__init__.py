"""Statistics of feature maps, by which styles are compared: one module each."""
