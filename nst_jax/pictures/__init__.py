"""Pictures: in and out of files, other sizes, colours, masks, contact sheets, films."""
