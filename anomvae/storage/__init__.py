"""What lasts: model files, output folders, the ledger. It knows bytes, records and their order, not how to score."""
