"""The edge to tables: the only room that knows pyarrow and pandas."""
