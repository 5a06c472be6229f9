"""A folder to an iterator of settled files. Knows paths and time, nothing of tables or models."""
