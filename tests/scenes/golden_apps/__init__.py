"""What the golden scenes are played with: two small apps, a client that sends bytes as given, and patterns of answers."""
