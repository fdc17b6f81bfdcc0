"""What the command line does: a configuration in, a run folder out."""
