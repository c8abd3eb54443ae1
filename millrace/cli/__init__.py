"""The command line. One file for each command."""
