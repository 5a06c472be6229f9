"""Fits detectors. Only the training itself loads torch, which a machine that only scores may lack."""
