"""Files through a fitted detector: batches, what a file adds up to, and its verdict."""
