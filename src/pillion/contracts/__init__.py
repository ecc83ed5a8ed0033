"""What each kind of driver must do, and the few words in which it may say no."""
