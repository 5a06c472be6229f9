"""Numerics: numpy and scipy only; no file, no clock, no print, no global random state."""
