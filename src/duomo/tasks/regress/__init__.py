"""Numbers from any mix of columns."""
