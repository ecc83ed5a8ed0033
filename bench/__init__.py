"""The judge: measures a sidecar, beside a second one when asked, and prints the ratios."""
