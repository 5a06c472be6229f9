"""The straight lines, one file a verb."""
