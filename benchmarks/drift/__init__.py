"""``make bench-drift``: how soon the monitor sees a drift that is known, and how often it cries wolf."""
