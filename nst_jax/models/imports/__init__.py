"""Models of other projects: each module reads the files of one, and returns a model file."""
