"""Streaming features: one definition, computed row by row, pure."""
