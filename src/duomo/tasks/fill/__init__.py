"""Masked language modelling: learn from text to fill gaps."""
