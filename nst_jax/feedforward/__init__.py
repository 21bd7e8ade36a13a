"""Feed-forward stylization: networks that draw a style in one pass, their training and files."""
