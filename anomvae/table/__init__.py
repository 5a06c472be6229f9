"""Tables in and out: bytes to typed columns, and rows back to files."""
