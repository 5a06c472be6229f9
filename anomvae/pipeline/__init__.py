"""The straight lines, one file a verb, over the rooms below. Nothing is printed here, every result is a record."""
