"""Records to something to look at: pure functions; the same record gives the same text."""
