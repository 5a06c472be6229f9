"""A watched folder: what arrives in it, what becomes of each file, and what is kept of that."""
