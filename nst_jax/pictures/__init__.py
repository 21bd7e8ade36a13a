"""Pictures: reading, writing, resizing, colours, masks, contact sheets and films."""
