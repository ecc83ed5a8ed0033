"""One file per driver; found through index.py, imported on first use."""
