"""Scoring on a Ray cluster, and folders of an object store."""
