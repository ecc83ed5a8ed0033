"""What makes a class a driver."""
