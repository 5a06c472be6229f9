"""Training: arrays in, arrays out. The only room that knows torch; it knows no file and no column's text."""
