"""What is expected of data: declared by the model owner, learned from training rows; pure mathematics, no I/O."""
