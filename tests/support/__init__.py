"""Small tools that tests of several rooms share."""
