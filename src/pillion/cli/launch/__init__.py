"""What `pillion run` does: plans, processes, their output and their end."""
