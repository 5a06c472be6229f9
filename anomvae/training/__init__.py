"""Training: typed rows to a fitted detector. Only training itself loads torch, which a scoring machine may lack."""
