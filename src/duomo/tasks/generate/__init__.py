"""Text written on from any beginning."""
