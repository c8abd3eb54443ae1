"""Questions to the console's database. They block: callers run them in a thread. Each reads few rows."""
