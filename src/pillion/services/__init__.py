"""What an app may ask for, whatever the transport."""
