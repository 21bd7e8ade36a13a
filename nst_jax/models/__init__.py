"""Networks that draw a picture in one pass: layers, architectures, files, and how to run them."""
