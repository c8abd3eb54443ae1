"""The files that ``millrace init`` writes. Words like ``$stream`` in them are replaced."""
