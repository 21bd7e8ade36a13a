"""Networks that draw in one pass: layers, architectures, files, and how they are run."""
