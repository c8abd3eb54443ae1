"""The demo of rollouts: models that look good on the hold-out and go wrong on what comes after, and what stops each."""
