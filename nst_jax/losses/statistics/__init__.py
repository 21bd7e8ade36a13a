"""The statistics of feature maps by which styles are compared."""
