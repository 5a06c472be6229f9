"""The edge to tables: bytes to typed columns, and rows back. It alone knows pyarrow and pandas; it knows no score."""
