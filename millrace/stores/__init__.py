"""What is kept outside the log: model files, addressed by their content."""
