"""Pictures: reading, writing, resizing, colours, masks and contact sheets."""
