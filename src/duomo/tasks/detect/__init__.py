"""What is in a picture, and where."""
